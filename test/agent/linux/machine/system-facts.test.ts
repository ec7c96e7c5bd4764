import assert from 'node:assert/strict';
import { mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { hostname, machine, release, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import * as v from 'valibot';
import { systemInformation } from '../../../../src/agent/collectors/system-information.ts';
import { mountedOn } from '../../../../src/agent/host/mounts.ts';
import {
  bootDevice,
  memoryFacts,
  parseFacts,
  rootParameter,
  systemFacts,
} from '../../../../src/agent/linux/machine/system-facts.ts';
import { linuxSources } from '../../../../src/agent/linux/sources.ts';
import { systemClock } from '../../../../src/core/base/clock.ts';
import { fuzzRuns } from '../../../fuzz.ts';
import { temporaryFolder } from '../../../harness/folders.ts';
import { sources } from '../../collectors/samples.ts';
import { quietLog } from '../../pipeline/memory-queues.ts';
import { mutated } from '../mutated.ts';
import { goldenListing, makeTree, removeTree } from './hardware/tree.ts';

describe('bootDevice', () => {
  const overlay = 'overlay / overlay rw 0 0\n';

  for (const [commandLine, mounts, expected] of [
    ['console=ttyS0 root=/dev/mmcblk0p2 rw', overlay, '/dev/mmcblk0p2'],
    ['root=UUID=12-34', '/dev/sda1 / ext4 rw 0 0\n', '/dev/sda1'],
    ['root=PARTUUID=12-34', '/dev/root / ext4 rw 0 0\n', 'PARTUUID=12-34'],
    ['root=PARTUUID=12-34', overlay, 'PARTUUID=12-34'],
    ['root=/dev/sda1 root=/dev/sdb1', '', '/dev/sdb1'],
    ['quiet "root=/dev/sda1"', '', '/dev/sda1'],
    ['quiet -- root=/dev/sda1', overlay, undefined],
    ['nfsroot=/dev/x myroot=/dev/y', '', undefined],
    ['', '/dev/sda1 / ext4 rw 0 0\n/dev/sdb1 / ext4 rw 0 0\n/dev/sdc1 /home ext4 rw 0 0\n', '/dev/sdb1'],
    ['', '', undefined],
  ] as const) {
    it(`returns ${expected} for "${commandLine}" and "${mounts.trim()}"`, () => {
      assert.equal(bootDevice(rootParameter(commandLine), mountedOn('/', mounts)), expected);
    });
  }

  it('decodes octal escapes', () => {
    assert.equal(mountedOn('/', '/dev/a\\040b / ext4 rw 0 0'), '/dev/a b');
    assert.equal(mountedOn('/the host', '/dev/sda1 /the\\040host ext4 rw 0 0'), '/dev/sda1');
  });

  it('accepts any text', function () {
    this.timeout(600_000);
    const commandLines = mutated('BOOT_IMAGE=/vmlinuz root=UUID=12-34 ro "root=/dev/sda1" quiet -- init');
    const tables = mutated('/dev/root / ext4 rw 0 0\n/dev/a\\040b /the\\011host ext4 rw 0 0\nproc /proc proc rw 0 0\n');
    fc.assert(
      fc.property(fc.oneof(fc.string(), commandLines), fc.oneof(fc.string(), tables), (commandLine, mounts) => {
        assert.notEqual(rootParameter(`${commandLine} root=${mounts}`), '');
        const device = bootDevice(rootParameter(commandLine), mountedOn('/', mounts));
        assert.ok((device ?? '').length <= commandLine.length + mounts.length);
      }),
      { numRuns: fuzzRuns(100_000) },
    );
    rootParameter('root="'.repeat(10_000));
    mountedOn('/', '/ '.repeat(30_000));
  });
});

describe('memoryFacts', () => {
  it('accepts any text', function () {
    this.timeout(600_000);
    const golden = 'MemTotal:       24684084 kB\nMemFree:  1 kB\nSwapTotal:  0 kB\nSwapFree:   0 kB\n';
    fc.assert(
      fc.property(fc.oneof(fc.string(), mutated(golden)), (text) => {
        for (const value of Object.values(memoryFacts(text))) assert.ok(Number.isSafeInteger(value));
      }),
      { numRuns: fuzzRuns(100_000) },
    );
  });
});

describe('systemFacts', () => {
  let root: string;

  beforeEach(() => {
    root = temporaryFolder();
  });

  const put = (path: string, text: string) => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  const facts = () => systemFacts({ hostRoot: root, proc: join(root, 'proc'), sys: join(root, 'sys'), ownRoot: root });
  const always = { architecture: machine(), hostName: hostname(), kernelVersion: release() };

  it('returns few facts for an empty root', () => assert.deepEqual(facts(), always));

  it('reads everything from the given roots', async () => {
    put(
      'etc/os-release',
      'NAME="Poky (Yocto)"\nID=poky\nID_LIKE="oe rdk"\nVERSION_ID=5.0\nVERSION_CODENAME=scarthgap\nBUILD_ID=20260101\n',
    );
    put('usr/lib/os-release', 'NAME=Wrong\n');
    put('proc/cmdline', 'root=/dev/mmcblk0p2\n');
    put(
      'proc/meminfo',
      'MemTotal:  1000 kB\nMemFree:  400 kB\nSwapTotal:  50 kB\nSwapFree:  0 kB\nHugePages_Total:  1\n',
    );
    put('sys/class/dmi/id/bios_version', '1.2.3\n');
    assert.deepEqual(facts(), {
      ...always,
      firmware: 'BIOS',
      osName: 'Poky (Yocto)',
      osVersion: '5.0',
      osVendor: 'poky',
      osId: 'poky',
      osIdLike: 'oe rdk',
      osCodename: 'scarthgap',
      osBuildId: '20260101',
      biosVersion: '1.2.3',
      bootDevice: '/dev/mmcblk0p2',
      totalPhysicalMemoryInKB: 1000,
      freePhysicalMemoryInKB: 400,
      totalVirtualMemoryInKB: 1050,
      freeVirtualMemoryInKB: 400,
    });
  });

  it("searches both places for os-release, and accepts a vendor's name", async () => {
    put('usr/lib/os-release', 'ID=fedora\nVENDOR_NAME="Fedora Project"\nBUILD_ID=rolling\n');
    const { osVendor, osVersion } = facts();
    assert.deepEqual([osVendor, osVersion], ['Fedora Project', 'rolling']);
  });

  it('omits empty values', async () => {
    put('sys/class/dmi/id/bios_version', ' \n');
    assert.deepEqual(facts(), { ...always, firmware: 'BIOS' });
  });

  it("follows links as the host would, and reads the host's name", async () => {
    put('usr/lib/os-release', 'NAME=Host\n');
    mkdirSync(join(root, 'etc'));
    symlinkSync('/usr/lib/os-release', join(root, 'etc/os-release'));
    put('etc/hostname', '# set by hand\npump-7\n');
    const { osName, hostName } = facts();
    assert.deepEqual([osName, hostName], ['Host', 'pump-7']);
  });

  it('finds what the host root is mounted from, at its mount point', async () => {
    put('proc/cmdline', 'root=PARTUUID=12-34\n');
    put('proc/mounts', `overlay / overlay rw 0 0\n/dev/mmcblk0p2 ${root} ext4 rw 0 0\n`);
    assert.equal(facts().bootDevice, '/dev/mmcblk0p2');
  });

  it('finds the device of the host root', async () => {
    const { dev } = statSync(root);
    const [major, minor] = [(dev >> 8) & 0xfff, dev & 0xff];
    put('proc/cmdline', 'root=PARTUUID=12-34\n');
    put(`sys/dev/block/${major}:${minor}/uevent`, 'MAJOR=8\nMINOR=2\nDEVNAME=sda2\nDEVTYPE=partition\n');
    assert.equal(facts().bootDevice, '/dev/sda2');
  });

  it('returns the memory of this machine, in units of 1024 bytes', async () => {
    const all = systemFacts({ hostRoot: '/' });
    assert.equal(all.totalPhysicalMemoryInKB, totalmem() / 1024);
    assert.ok((all.totalVirtualMemoryInKB ?? 0) >= totalmem() / 1024);
    assert.ok((all.freePhysicalMemoryInKB ?? 0) > 0);
    assert.ok((all.freeVirtualMemoryInKB ?? 0) >= (all.freePhysicalMemoryInKB ?? 0));
  });

  for (const [name, expected] of Object.entries({
    'debian13-6.12/hardware-pc.txt': {
      firmware: 'UEFI',
      secureBoot: false,
      biosVersion: '2025.02-8+deb13u1',
      biosVendor: 'Debian distribution of EDK II',
      machineVendor: 'LENOVO-like',
      machineModel: 'ThinkPad T-000',
    },
    'debian13-6.12/hardware-raspberry-pi-3.txt': {
      firmware: 'device tree',
      machineVendor: 'raspberrypi',
      machineModel: 'Raspberry Pi 3 Model B',
    },
    'debian13-6.18/hardware-virtual.txt': { hypervisor: 'kvm' },
  })) {
    it(`recognises the machine of ${name}`, async () => {
      const tree = makeTree(goldenListing(name));
      const [proc, sys] = [join(tree, 'proc'), join(tree, 'sys')];
      assert.deepEqual(systemFacts({ hostRoot: root, proc, sys, ownRoot: tree }), { ...always, ...expected });
      removeTree(tree);
    });
  }

  it('returns valid facts, read by a process of its own', async () => {
    const { signal } = new AbortController();
    const { snapshots, reader } = linuxSources({ hostRoot: '/', clock: systemClock, log: quietLog() });
    const payloads = await systemInformation.collect({ ...sources, system: snapshots.system }, signal);
    reader.close();
    assert.equal(payloads.length, 1);
    for (const payload of payloads) v.parse(systemInformation.payload, payload);
    const { freePhysicalMemoryInKB: _, freeVirtualMemoryInKB: __, ...here } = systemFacts({ hostRoot: '/' });
    const { OSName, OsArchitecture, HostName, BootDevice, TotalPhysicalMemoryInKB } = payloads[0] ?? {};
    assert.deepEqual(
      [OSName, OsArchitecture, HostName, BootDevice, TotalPhysicalMemoryInKB],
      [here.osName, here.architecture, here.hostName, here.bootDevice, here.totalPhysicalMemoryInKB],
    );
  });

  it('returns no facts for an invalid answer', () => {
    for (const answer of [undefined, null, [], {}, { ...always, other: 1 }, { ...always, totalPhysicalMemoryInKB: -1 }])
      assert.throws(() => parseFacts(answer), v.ValiError);
    assert.deepEqual(parseFacts(always), always);
  });
});
