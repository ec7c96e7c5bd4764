import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, machine, tmpdir, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { bootDevice, parseOsRelease, rootMount, rootParameter, systemFacts } from '../../src/linux/system-facts.ts';

describe('parseOsRelease', () => {
  for (const [line, value] of [
    ['NAME=debian', 'debian'],
    ['NAME="Debian GNU/Linux"', 'Debian GNU/Linux'],
    ['NAME=\'Debian \\ "GNU"\'', 'Debian \\ "GNU"'],
    ['NAME="a \\"b\\" \\$c \\`d\\` \\\\ \\n"', 'a "b" $c `d` \\ \\n'],
    ['NAME=a\\ b', undefined],
    ['NAME=a\\"b', undefined],
    ['NAME=""', ''],
    ['NAME=', ''],
    ['  NAME="x"  ', 'x'],
    ['NAME="x"\r', 'x'],
    ['NAME="open', undefined],
    ['NAME="a" b', undefined],
    ['NAME=a b', undefined],
    ['# NAME=x', undefined],
    ['NAME = x', undefined],
    ['name=x', undefined],
    ['NAME=a\nNAME=b', 'b'],
  ] as const) {
    it(`reads ${JSON.stringify(line)} as ${JSON.stringify(value)}`, () => {
      assert.equal(parseOsRelease(line).NAME, value);
    });
  }

  it('takes any text, in time', () => {
    const line = fc.string({ unit: fc.constantFrom('A', '_', '=', '"', "'", '\\', '$', ' ', '\n') });
    fc.assert(
      fc.property(line, (text) => {
        for (const value of Object.values(parseOsRelease(text))) assert.equal(typeof value, 'string');
      }),
      { numRuns: 2_000 },
    );
    parseOsRelease(`A=${' '.repeat(60_000)}x\nB="${'\\'.repeat(60_000)}`);
    assert.equal(parseOsRelease('__proto__=x').toString, undefined);
  });
});

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
    it(`is ${expected} for "${commandLine}" and "${mounts.trim()}"`, () => {
      assert.equal(bootDevice(commandLine, mounts), expected);
    });
  }

  it('reads octal escapes', () => assert.equal(rootMount('/dev/a\\040b / ext4 rw 0 0'), '/dev/a b'));

  it('takes any text', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (commandLine, mounts) => {
        assert.notEqual(rootParameter(`${commandLine} root=${mounts}`), '');
        bootDevice(commandLine, mounts);
      }),
      { numRuns: 1_000 },
    );
  });
});

describe('systemFacts', () => {
  let root: string;

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'vakt-host-'));
  });
  afterEach(() => rmSync(root, { recursive: true }));

  const put = (path: string, text: string) => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  const facts = () => systemFacts({ hostRoot: root, proc: join(root, 'proc'), sys: join(root, 'sys') });
  const always = { architecture: machine(), hostName: hostname() };

  it('knows little of an empty root', async () => assert.deepEqual(await facts(), always));

  it('reads everything from under the roots it was given', async () => {
    put('etc/os-release', 'NAME="Poky (Yocto)"\nID=poky\nVERSION_ID=5.0\n');
    put('usr/lib/os-release', 'NAME=Wrong\n');
    put('proc/cmdline', 'root=/dev/mmcblk0p2\n');
    put(
      'proc/meminfo',
      'MemTotal:  1000 kB\nMemFree:  400 kB\nSwapTotal:  50 kB\nSwapFree:  0 kB\nHugePages_Total:  1\n',
    );
    put('sys/class/dmi/id/bios_version', '1.2.3\n');
    assert.deepEqual(await facts(), {
      ...always,
      osName: 'Poky (Yocto)',
      osVersion: '5.0',
      osVendor: 'poky',
      biosVersion: '1.2.3',
      bootDevice: '/dev/mmcblk0p2',
      totalPhysicalMemoryInKB: 1000,
      freePhysicalMemoryInKB: 400,
      totalVirtualMemoryInKB: 1050,
      freeVirtualMemoryInKB: 400,
    });
  });

  it('looks in both places for os-release, and takes a vendor who gives its name', async () => {
    put('usr/lib/os-release', 'ID=fedora\nVENDOR_NAME="Fedora Project"\nBUILD_ID=rolling\n');
    const { osVendor, osVersion } = await facts();
    assert.deepEqual([osVendor, osVersion], ['Fedora Project', 'rolling']);
  });

  it('leaves out what is empty', async () => {
    put('sys/class/dmi/id/bios_version', ' \n');
    assert.deepEqual(await facts(), always);
  });

  it('knows the memory of this machine, in units of 1024 bytes', async () => {
    const all = await systemFacts({ hostRoot: '/' });
    assert.equal(all.totalPhysicalMemoryInKB, totalmem() / 1024);
    assert.ok((all.totalVirtualMemoryInKB ?? 0) >= totalmem() / 1024);
    assert.ok((all.freePhysicalMemoryInKB ?? 0) > 0);
    assert.ok((all.freeVirtualMemoryInKB ?? 0) >= (all.freePhysicalMemoryInKB ?? 0));
  });
});
