import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import sinon from 'sinon';
import { containerIn } from '../../../../src/agent/host/cgroups.ts';
import { Containers, mayHoldContainers } from '../../../../src/agent/linux/processes/containers.ts';
import { type Clock, systemClock } from '../../../../src/core/base/clock.ts';
import { milliseconds, minutes, seconds } from '../../../../src/core/base/duration.ts';
import type { StartedProcess } from '../../../../src/core/contract/streams.ts';
import { fuzzRuns } from '../../../fuzz.ts';
import { temporaryFolder } from '../../../harness/folders.ts';
import { skip } from '../../../harness/require.ts';

const A = '3c9f1e5ba7d24c8890aa6c0d3f7be2415d6d1f0c2b9a48e7a1c35fbb40d7e9f1';
const B = 'b2a102854b4969b2ce98dc329c86b4fb2b06e4ad2cc8da9d8a7578c9cd2004a2';
const POD = 'pod72f7f152_440c_66ac_9084_e0fc1d8a910c';

/** A cgroup's path, and the container it belongs to. */
const INSIDE: Readonly<Record<string, readonly [path: string, id: string]>> = {
  'docker, cgroupfs': [`/docker/${A}`, A],
  'docker, systemd': [`/system.slice/docker-${A}.scope`, A],
  'docker, rootless': [`/user.slice/user-1000.slice/user@1000.service/user.slice/docker-${A}.scope`, A],
  'docker, its own init': [`/system.slice/docker-${A}.scope/init.scope`, A],
  'docker below a parent of its own': [`/edge/modules/${A}`, A],
  'a step of a build': ['/docker/buildkit/mb1vcxsfw0e8p7dkxh6vu6ad7', 'mb1vcxsfw0e8p7dkxh6vu6ad7'],
  'podman, systemd': [`/machine.slice/libpod-${A}.scope`, A],
  'podman, crun': [`/machine.slice/libpod-${A}.scope/container`, A],
  'podman, cgroupfs': [`/libpod_parent/libpod-${A}`, A],
  'podman, in a pod': [`/machine.slice/machine-libpod_pod_${B}.slice/libpod-${A}.scope`, A],
  'podman, Quadlet': [`/system.slice/web.service/libpod-payload-${A}`, A],
  'podman, rootless': [`/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-${A}.scope/container`, A],
  'containerd, systemd': [
    `/kubepods.slice/kubepods-burstable.slice/kubepods-${POD}.slice/cri-containerd-${A}.scope`,
    A,
  ],
  'containerd, cgroupfs': [`/kubepods/besteffort/pod72f7f152-440c-66ac-9084-e0fc1d8a910c/${A}`, A],
  'containerd, mixed up': [`/system.slice/containerd.service/kubepods-${POD}.slice:cri-containerd:${A}`, A],
  nerdctl: [`/system.slice/nerdctl-${A}.scope`, A],
  'CRI-O': [`/kubepods.slice/kubepods-${POD}.slice/crio-${A}.scope/container`, A],
  'LXC 4 and later, LXD, Incus': ['/lxc.payload.web-1', 'web-1'],
  'LXC 4 in a project of LXD': ['/lxc.payload.shop_web-1/system.slice/ssh.service', 'shop_web-1'],
  'LXC 3': ['/lxc.payload/web/init.scope', 'web'],
  'LXC 2': ['/lxc/web', 'web'],
  'systemd-nspawn': ['/machine.slice/machine-web\\x2d1.scope/payload/system.slice/ssh.service', 'web-1'],
  'systemd-nspawn, as a service': ['/machine.slice/systemd-nspawn@web-1.service/payload/init.scope', 'web-1'],
  'libvirt-lxc': ['/machine.slice/machine-lxc\\x2d4711\\x2dweb.scope', 'lxc-4711-web'],
  'a container in a container': [`/docker/${A}/docker/${B}`, B],
  'Kubernetes in a container': [`/docker/${A}/kubelet/kubepods/besteffort/pod1/${B}`, B],
  'LXC in docker': [`/docker/${A}/lxc.payload.web/init.scope`, 'web'],
  'what stands by a container, in another one': [`/docker/${A}/system.slice/crio-conmon-${B}.scope`, A],
  'a sibling, from within a cgroup namespace': [`/../docker-${A}.scope`, A],
  'one above, from within a cgroup namespace': [`/../../lxc.payload.web/init.scope`, 'web'],
  'one that is gone': [`/system.slice/docker-${A}.scope (deleted)`, A],
};

const OUTSIDE: Readonly<Record<string, string>> = {
  'the root': '/',
  'a service': '/system.slice/ssh.service',
  'a session': '/user.slice/user-1000.slice/session-3.scope',
  'an application': '/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome-firefox-4711.scope',
  'a snap': '/user.slice/user-1000.slice/user@1000.service/snap.firefox.firefox-5f3a.scope',
  'docker itself': '/system.slice/docker.service',
  'conmon of podman': `/machine.slice/libpod-conmon-${A}.scope`,
  'conmon of CRI-O': `/kubepods.slice/kubepods-${POD}.slice/crio-conmon-${A}.scope`,
  'conmon of Quadlet': '/system.slice/web.service/runtime',
  'a pod of podman': `/machine.slice/machine-libpod_pod_${A}.slice`,
  'a mount of docker': `/system.slice/var-lib-docker-overlay2-${A}-merged.mount`,
  'the monitor of LXC': '/lxc.monitor.web',
  'the monitor of LXC 3': '/lxc.monitor/web',
  'systemd-nspawn itself': '/machine.slice/machine-web.scope/supervisor',
  'systemd-nspawn itself, as a service': '/machine.slice/systemd-nspawn@web.service/supervisor',
  'a virtual machine': '/machine.slice/machine-qemu\\x2d1\\x2dweb.scope/libvirt/emulator',
  '32 digits': '/process_api/0abcab2da2fe243cd9ae43dbffeb01bb',
  '63 digits': `/docker/${A.slice(1)}`,
  '65 digits': `/docker/${A}0`,
  'capital letters': `/docker/${A.toUpperCase()}`,
  'no path': '',
};

/** As cgroup v1 has it: the same, or nearly, in all hierarchies. */
const v1 = (path: string) =>
  ['12:pids', '11:memory', '10:cpu,cpuacct', '2:cpuset', '1:name=systemd'].map((head) => `${head}:${path}\n`).join('');

/**
 * How many steps an expression can take at most to look at a text: for each repetition without a bound it may go through
 * all of it, and from each place of it, unless it is anchored.
 */
function mostSteps({ source }: RegExp, text: string): number {
  const repetitions = source.replace(/\\.|\[[^\]]*\]/g, 'x').match(/[*+]|\{\d+,\}/g)?.length ?? 0;
  const starts = source.startsWith('^') || repetitions === 0 ? 0 : 1;
  return text.length ** Math.max(1, repetitions + starts);
}

describe('containerIn', () => {
  for (const [what, [path, id]] of Object.entries(INSIDE)) {
    it(`finds ${what}`, () => {
      assert.equal(containerIn(`0::${path}\n`), id);
      assert.equal(containerIn(`${v1(path)}0::/\n`), id);
    });
  }

  for (const [what, path] of Object.entries(OUTSIDE)) {
    it(`finds no container in ${what}`, () => {
      assert.equal(containerIn(`0::${path}\n`), undefined);
      assert.equal(containerIn(v1(path)), undefined);
    });
  }

  it('finds a container that only some hierarchies name', () => {
    assert.equal(containerIn(`3:cpuset:/\n2:pids:/docker/${A}\n1:name=systemd:/system.slice\n0::/\n`), A);
  });

  it('returns no unprintable character', () => {
    assert.equal(containerIn('0::/lxc.payload.a\u0007b\n'), undefined);
    assert.equal(containerIn('0::/machine.slice/machine-a\\x20b.scope\n'), undefined);
    assert.equal(containerIn('0::/machine.slice/machine-a\\x0ab.scope\n'), 'a\\x0ab');
    assert.equal(containerIn(`0::/lxc.payload.${'x'.repeat(300)}\n`), undefined);
  });

  it('accepts any text', () => {
    const golden = [...Object.values(INSIDE).map(([path]) => path), ...Object.values(OUTSIDE)];
    const mutated = fc
      .tuple(fc.constantFrom(...golden), fc.nat(), fc.nat(8), fc.string({ maxLength: 8, unit: 'binary' }))
      .map(([path, at, cut, put]) => {
        const from = at % (path.length + 1);
        return v1(path.slice(0, from) + put + path.slice(from + cut));
      });
    const structured = fc
      .array(fc.constantFrom('/', ':', '\n', '-', A, B, '.scope', 'lxc', 'machine-', '\\x2d', 'conmon-', 'x', ' '))
      .map((parts) => parts.join(''));
    fc.assert(
      fc.property(fc.oneof(mutated, structured, fc.string({ unit: 'binary', maxLength: 400 })), (text) => {
        const id = containerIn(text);
        if (id !== undefined) assert.match(id, /^[^\s\p{C}]{1,255}$/u);
      }),
      { numRuns: fuzzRuns(100_000) },
    );
  });

  it('takes linear, not quadratic, time for long input', () => {
    const texts = [
      '-'.repeat(4_000),
      '/'.repeat(4_000),
      '-a'.repeat(2_000),
      `${A}/`.repeat(60),
      A.repeat(250),
      ':'.repeat(4_000),
    ];
    const exec = sinon.spy(RegExp.prototype, 'exec');
    try {
      for (const text of texts) {
        exec.resetHistory();
        containerIn(`0::/${text}x\n`);
        const steps = exec.getCalls().reduce((sum, { thisValue, args: [name] }) => sum + mostSteps(thisValue, name), 0);
        assert.ok(steps <= 20 * text.length, `up to ${steps} steps for ${text.length} characters`);
      }
    } finally {
      exec.restore();
    }
  });
});

describe('Containers', () => {
  const DEAD = 900;
  let hostRoot: string;
  let wall: number;
  let monotonic: number;
  let containers: Containers;

  const clock: Clock = {
    ...systemClock,
    now: () => new Date(wall),
    monotonic: () => milliseconds(monotonic),
  };
  const pass = (time: number) => {
    wall += time;
    monotonic += time;
  };
  const live = (pid: number, path: string, comm = 'sh', exe = `/usr/bin/${comm}`) => {
    mkdirSync(join(hostRoot, `proc/${pid}`), { recursive: true });
    writeFileSync(join(hostRoot, `proc/${pid}/cgroup`), `0::${path}\n`);
    writeFileSync(join(hostRoot, `proc/${pid}/comm`), `${comm}\n`);
    rmSync(join(hostRoot, `proc/${pid}/exe`), { force: true });
    symlinkSync(exe, join(hostRoot, `proc/${pid}/exe`));
  };
  const end = (pid: number) => rmSync(join(hostRoot, `proc/${pid}`), { recursive: true });
  const start = (change: Partial<StartedProcess> = {}) =>
    containers.started({
      pid: DEAD,
      parentPid: 1,
      userId: 0,
      executable: '/bin/ls',
      startedAt: new Date(wall - 100),
      ...change,
    });

  beforeEach(() => {
    hostRoot = temporaryFolder();
    wall = Date.parse('2024-05-01T12:00:00Z');
    monotonic = 0;
    live(1, '/init.scope', 'systemd');
    live(2, `/system.slice/docker-${A}.scope`);
    containers = new Containers({ hostRoot, clock, isRootOwned: (path) => path.startsWith('/usr/') });
  });

  it('returns the container in the cgroup of a running process', () => {
    live(70, `/system.slice/docker-${A}.scope`);
    assert.deepEqual(start({ pid: 70 }), { container: A, onHost: false, gone: false });
    assert.equal(containers.of(70, 1), A);
    live(71, '/system.slice/ssh.service');
    assert.deepEqual(start({ pid: 71 }), { container: undefined, onHost: true, gone: false });
    assert.equal(containers.of(71, 1), undefined);
  });

  it('returns the container of the parent for a process that exited', () => {
    live(70, `/system.slice/docker-${A}.scope`);
    assert.deepEqual(start({ parentPid: 70 }), { container: A, onHost: false, gone: true });
    assert.deepEqual(start({ pid: 901, parentPid: 1 }), { container: undefined, onHost: true, gone: true });
    assert.equal(containers.of(902, 70), A);
  });

  it('inherits a container through several exited processes', () => {
    live(70, `/system.slice/docker-${A}.scope`);
    start({ pid: 800, parentPid: 70 });
    end(70);
    start({ pid: 801, parentPid: 800 });
    assert.equal(start({ pid: 802, parentPid: 801 }).container, A);
    assert.equal(containers.of(802, 801), A);
  });

  it('returns unknown if no running ancestor is left', () => {
    assert.deepEqual(start({ parentPid: 4711 }), { container: undefined, onHost: false, gone: true });
    assert.equal(containers.of(DEAD, 4711), undefined);
  });

  for (const comm of ['containerd-shim', 'runc', 'crun', 'conmon', 'lxc-start', 'systemd-nspawn']) {
    it(`returns unknown for exited children of ${comm}`, () => {
      live(70, '/system.slice/docker.service', comm);
      assert.equal(start({ parentPid: 70 }).onHost, false);
    });
  }

  for (const [what, comm, exe] of [
    ['a program that is called like an engine, where anybody can have put it', 'runc', '/tmp/runc'],
    ['a process that has given itself the name of an engine', 'runc', '/usr/bin/sleep'],
  ] as const) {
    it(`returns the container of ${what} for its children`, () => {
      live(70, '/user.slice/user-1000.slice/session-1.scope', comm, exe);
      assert.equal(start({ parentPid: 70 }).onHost, true);
      start({ pid: 800, parentPid: 70, executable: exe });
      assert.equal(start({ pid: 801, parentPid: 800 }).onHost, true);
    });
  }

  it('returns the container of a process without an image that named itself like an engine', () => {
    live(70, '/user.slice/user-1000.slice/session-1.scope', 'runc');
    rmSync(join(hostRoot, 'proc/70/exe'));
    assert.equal(start({ parentPid: 70 }).onHost, true);
  });

  it('returns unknown for children of a process named like an engine if its image is hidden', async function () {
    if (process.getuid?.() !== 0) return skip(this, 'needs root, to have a process that an ordinary user looks at');
    start(); // detects containers
    copyFileSync('/bin/sleep', join(hostRoot, 'runc'));
    chmodSync(hostRoot, 0o755);
    rmSync(join(hostRoot, 'proc'), { recursive: true });
    symlinkSync('/proc', join(hostRoot, 'proc'));
    const child = spawn(join(hostRoot, 'runc'), ['60'], { stdio: 'ignore' });
    await once(child, 'spawn');
    const parentPid = child.pid ?? 0;
    try {
      process.seteuid?.(65_534);
      assert.throws(() => readlinkSync(`/proc/${parentPid}/exe`), { code: 'EACCES' });
      assert.equal(start({ pid: 2 ** 30, parentPid }).onHost, false);
    } finally {
      process.seteuid?.(0);
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  });

  it('returns unknown for children of an engine that exited as well', () => {
    start({ pid: 800, parentPid: 1, executable: '/usr/bin/conmon' });
    start({ pid: 801, parentPid: 800, executable: '/usr/bin/crun' });
    assert.deepEqual(start({ parentPid: 801 }), { container: undefined, onHost: false, gone: true });
  });

  it("returns the parent's container for children of an engine within a container", () => {
    live(70, `/system.slice/docker-${A}.scope`, 'runc');
    assert.equal(start({ parentPid: 70 }).container, A);
    start({ pid: 800, parentPid: 70, executable: '/usr/bin/docker' });
    assert.equal(start({ pid: 801, parentPid: 800 }).container, A);
  });

  it("returns the parent's container for children of a container's own init", () => {
    live(70, `/system.slice/docker-${A}.scope`, 'docker-init');
    assert.equal(start({ parentPid: 70 }).container, A);
  });

  it('notices that an engine moved a process before it starts another program', () => {
    live(70, '/system.slice/docker.service');
    assert.equal(start({ pid: 70, executable: '/usr/bin/runc' }).onHost, true);
    live(70, `/system.slice/docker-${A}.scope`);
    assert.equal(start({ pid: 70 }).container, A);
  });

  it('keeps the container of an exited process for one more program start', () => {
    live(70, `/system.slice/docker-${A}.scope`);
    live(60, '/system.slice/docker.service', 'containerd-shim');
    start({ pid: 70, parentPid: 60 });
    end(70);
    assert.equal(start({ pid: 70, parentPid: 60 }).container, A);
  });

  it('looks up a container again after a while, since the pid may have been reused', () => {
    live(70, `/system.slice/docker-${A}.scope`);
    assert.equal(start({ parentPid: 70 }).container, A);
    live(70, '/system.slice/ssh.service');
    pass(seconds(1.9));
    assert.equal(start({ pid: 901, parentPid: 70 }).container, A);
    pass(seconds(0.2));
    assert.deepEqual(start({ pid: 902, parentPid: 70 }), { container: undefined, onHost: true, gone: true });
    end(70);
    pass(seconds(3));
    assert.equal(start({ pid: 903, parentPid: 70 }).onHost, false);
  });

  it('does not look up a process whose start is long past', () => {
    live(70, `/system.slice/docker-${A}.scope`);
    const place = start({ pid: 70, startedAt: new Date(wall - seconds(11)) });
    assert.deepEqual(place, { container: undefined, onHost: false, gone: true });
  });

  it('finds the container by the process alone if the time of its start is unknown', () => {
    live(70, `/system.slice/docker-${A}.scope`);
    assert.equal(containers.started({ pid: 70, parentPid: 1, userId: 0, executable: '' }).container, A);
  });

  it('stays correct for more processes than it remembers', () => {
    live(70, `/system.slice/docker-${A}.scope`);
    for (let pid = 1_000; pid < 12_000; pid += 1) assert.equal(start({ pid, parentPid: 70 }).container, A);
    for (let pid = 1_000; pid < 12_000; pid += 1) assert.equal(start({ pid, parentPid: 1 }).onHost, true);
  });

  describe('on a host without containers', () => {
    beforeEach(() => {
      end(2);
      containers = new Containers({ hostRoot, clock, isRootOwned: (path) => path.startsWith('/usr/') });
      start();
      live(70, `/system.slice/docker-${A}.scope`);
    });

    it('does not look up containers', () => {
      assert.deepEqual(start({ pid: 70 }), { container: undefined, onHost: true, gone: false });
      assert.equal(containers.of(70, 1), undefined);
      const past = start({ pid: 70, startedAt: new Date(wall - seconds(11)) });
      assert.deepEqual(past, { container: undefined, onHost: true, gone: true });
    });

    it('notices a container within a minute', () => {
      pass(minutes(1) - 1);
      assert.equal(start({ pid: 70 }).container, undefined);
      pass(1);
      assert.equal(start({ pid: 70 }).container, A);
    });

    it('notices a container immediately when an engine starts', () => {
      start({ executable: '/tmp/runc-x' });
      assert.equal(start({ pid: 70 }).container, undefined);
      start({ executable: '/usr/bin/containerd-shim-runc-v2' });
      assert.equal(start({ pid: 70 }).container, A);
      assert.equal(containers.of(70, 1), A);
    });
  });
});

describe('mayHoldContainers', () => {
  let proc: string;

  beforeEach(() => {
    proc = temporaryFolder();
  });

  const holds = (...groups: string[]) => {
    for (const [index, text] of groups.entries()) {
      mkdirSync(join(proc, `${index + 1}`), { recursive: true });
      writeFileSync(join(proc, `${index + 1}/cgroup`), text);
    }
    return mayHoldContainers(proc);
  };

  it('finds the container of any process, including a rootless one', () => {
    const outside = ['0::/init.scope\n', '0::/user.slice/user-1000.slice/user@1000.service/init.scope\n'];
    assert.equal(holds(...outside), false);
    const rootless = `/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-${A}.scope`;
    assert.equal(holds(...outside, `0::${rootless}\n`), true);
  });

  it('finds a container in a hierarchy of cgroup v1', () =>
    assert.equal(holds('0::/\n', '3:pids:/lxc/web\n0::/\n'), true));

  it('skips a process that exited', () => {
    mkdirSync(join(proc, '77'));
    assert.equal(holds('0::/init.scope\n'), false);
  });

  it('assumes containers if nothing can be read', () => {
    assert.equal(mayHoldContainers(join(proc, 'nowhere')), true);
    assert.equal(mayHoldContainers(proc), true);
  });

  it('assumes containers if there are too many processes', () => {
    for (let pid = 10; pid < 520; pid += 1) mkdirSync(join(proc, `${pid}`));
    assert.equal(holds('0::/init.scope\n'), true);
  });
});

describe('Containers on the real kernel', () => {
  let folder: string | undefined;
  let child: ChildProcess | undefined;

  /** Makes a cgroup wherever that is allowed. */
  function makeGroup(): { folder: string } | { reason: string } {
    const root = '/sys/fs/cgroup';
    let reason = `there is nothing in ${root}`;
    try {
      for (const place of [root, ...readdirSync(root).map((name) => join(root, name))]) {
        try {
          const made = join(place, `docker-${A}.scope`);
          mkdirSync(made);
          if (readdirSync(made).includes('cgroup.procs')) return { folder: made };
          rmdirSync(made);
        } catch (error) {
          reason = `no cgroup can be made: ${(error as Error).message}`;
        }
      }
    } catch {
      // no such folder
    }
    return { reason };
  }

  afterEach(async () => {
    if (child !== undefined && child.exitCode === null) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    child = undefined;
    // The kernel lets go of a process a moment after its end.
    for (let tries = 0; folder !== undefined && tries < 100; tries += 1) {
      try {
        rmdirSync(folder);
        folder = undefined;
      } catch {
        await systemClock.sleep(milliseconds(20));
      }
    }
  });

  it('finds the container of a process and of its child', async function () {
    const made = makeGroup();
    if ('reason' in made) return skip(this, made.reason);
    folder = made.folder;
    child = spawn('sleep', ['60']);
    await once(child, 'spawn');
    const pid = child.pid ?? 0;
    writeFileSync(join(folder, 'cgroup.procs'), String(pid));
    const containers = new Containers({ hostRoot: '/', clock: systemClock, isRootOwned: () => false });
    const startedAt = new Date();
    const place = containers.started({
      pid,
      parentPid: process.pid,
      userId: 0,
      executable: '/usr/bin/sleep',
      startedAt,
    });
    assert.deepEqual(place, { container: A, onHost: false, gone: false });
    assert.equal(containers.of(pid, process.pid), A);
    assert.equal(
      containers.started({ pid: 2 ** 30, parentPid: pid, userId: 0, executable: '/bin/x', startedAt }).container,
      A,
    );
    assert.notEqual(containers.of(process.pid, 1), A);
  });
});
