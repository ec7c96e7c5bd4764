import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { rememberOwn } from '../../../../src/agent/host/own-processes.ts';
import { ProcFolder } from '../../../../src/agent/host/proc-folder.ts';
import type { AuditEvent } from '../../../../src/agent/linux/audit/event.ts';
import { ProcessTable } from '../../../../src/agent/linux/processes/process-table.ts';
import { systemClock } from '../../../../src/core/base/clock.ts';
import { milliseconds, seconds } from '../../../../src/core/base/duration.ts';
import { nextTurn } from '../../../../src/core/base/waiting.ts';
import { fuzzRuns } from '../../../fuzz.ts';
import { FakeProc } from './fake-proc.ts';
import { readHere } from './memory/read-here.ts';

const event = (change: Partial<AuditEvent> = {}): AuditEvent => ({
  time: new Date(0),
  serial: 1,
  syscall: 'execve',
  success: true,
  fields: { pid: '4711', exe: '/usr/bin/ls' },
  commandLine: 'ls -l',
  ...change,
});

describe('ProcessTable', () => {
  let proc: FakeProc;
  let table: ProcessTable;
  let now: number;
  const clock = { ...systemClock, monotonic: () => milliseconds(now) };

  beforeEach(() => {
    now = 500_000;
    proc = new FakeProc();
    table = new ProcessTable({ proc: new ProcFolder(proc.path), clock });
  });
  afterEach(() => proc.close());

  const later = (ms: number) => {
    now += ms;
    proc.uptime(1_000 + (now - 500_000) / 1_000);
  };
  const isKnown = (pid: number) => table.hasStarted(pid, milliseconds(now));

  describe('processAt', () => {
    const execve = (serial: number, pid: number, ppid: number, exe: string, argv: readonly string[], uid = '0') =>
      event({
        serial,
        time: new Date(1_000),
        fields: { pid: `${pid}`, ppid: `${ppid}`, exe, uid, euid: uid },
        argv,
        commandLine: argv.join(' '),
      });
    const at = (serial: number) => ({ time: 1_000, serial });
    const nginx = execve(1, 100, 1, '/usr/sbin/nginx', ['nginx', '-g', 'daemon off;']);

    it('returns the program that ran before the latest one', () => {
      table.acceptAudit([
        execve(1, 10, 9, '/usr/bin/dash', ['sh', 'x y']),
        execve(2, 11, 10, '/tmp/miner', ['/tmp/miner']),
        execve(3, 10, 9, '/usr/bin/rm', ['rm', 'x']),
      ]);
      const parent = table.processAt(10, at(2));
      assert.deepEqual([parent?.executable, parent?.argv, parent?.parentPid], ['/usr/bin/dash', ['sh', 'x y'], 9]);
      assert.equal(table.processAt(10, at(3))?.executable, '/usr/bin/rm');
    });

    it("returns the parent's program for a copy until it executes its first program", () => {
      table.acceptAudit([
        nginx,
        execve(2, 102, 101, '/usr/bin/dash', ['sh', '-c', 'id']),
        execve(3, 101, 100, '/usr/bin/sleep', ['sleep', '9']),
      ]);
      assert.equal(table.processAt(101, at(2))?.executable, '/usr/sbin/nginx');
      assert.equal(table.processAt(101, at(3))?.executable, '/usr/bin/sleep');
    });

    it('returns the last program of a process that has exited', () => {
      table.acceptAudit([nginx]);
      table.ended(100);
      assert.equal(table.processAt(100, at(2))?.executable, '/usr/sbin/nginx');
      assert.equal(table.processAt(100, { time: Date.now() + 60_000, serial: 9 }), undefined);
    });

    it('follows serials across the wrap, and times without serials', () => {
      const last = 2 ** 32 - 1;
      table.acceptAudit([execve(last, 10, 9, '/usr/bin/dash', ['sh']), execve(1, 10, 9, '/usr/bin/rm', ['rm'])]);
      assert.equal(table.processAt(10, at(0))?.executable, '/usr/bin/dash');
      assert.equal(table.processAt(10, at(1))?.executable, '/usr/bin/rm');
      table.started({ pid: 20, executable: '/usr/bin/a', at: 5_000 });
      table.started({ pid: 20, executable: '/usr/bin/b', at: 6_000 });
      assert.equal(table.processAt(20, { time: 5_500 })?.executable, '/usr/bin/a');
      assert.equal(table.processAt(20, { time: 6_500 })?.executable, '/usr/bin/b');
    });

    it('returns a user and the bounds of arguments only if the kernel provides them', () => {
      table.acceptAudit([
        execve(1, 10, 9, '/usr/bin/dash', ['sh', 'a b', 'c', 'd', 'e'], '1000'),
        event({ serial: 2, fields: { pid: '11', ppid: '9', exe: '/usr/bin/dash', uid: '1000', euid: '0' } }),
      ]);
      const [user, mixed] = [10, 11].map((pid) => table.processAt(pid, { time: 1_000, serial: 2 }));
      assert.deepEqual([user?.userId, user?.argv, user?.commandLine], [1000, undefined, 'sh a b c d e']);
      assert.deepEqual([mixed?.executable, mixed?.userId], ['/usr/bin/dash', undefined]);
    });

    it('stays bounded for endless program starts in one process, and for many exits', () => {
      for (let serial = 1; serial <= 20_000; serial += 1)
        table.acceptAudit([execve(serial, serial % 2 === 0 ? 10 : serial, 9, '/usr/bin/dash', ['sh', `${serial}`])]);
      for (let pid = 1; pid < 20_000; pid += 2) table.ended(pid);
      assert.equal(table.processAt(10, at(20_000))?.commandLine, 'sh 20000');
      assert.equal(table.processAt(10, at(4)), undefined);
    });
  });

  describe('for a parent', () => {
    const shell = event({ fields: { pid: '10', exe: '/usr/bin/dash' }, commandLine: 'sh ./run.sh' });
    const program = { executable: '/usr/bin/dash', commandLine: 'sh ./run.sh' };

    it('returns the program that it started', () => {
      table.acceptAudit([shell]);
      assert.deepEqual(table.find(10), program);
    });

    it('returns the program that it was copied from, over several generations', () => {
      table.acceptAudit([shell]);
      proc.add(10, { executable: '/usr/bin/dash' });
      proc.add(11, { executable: '/usr/bin/dash', parent: 10 });
      proc.add(12, { executable: '/usr/bin/dash', parent: 11 });
      assert.deepEqual(table.find(12), program);
      proc.remove(12);
      assert.deepEqual(table.find(12), program, 'read again, although it was known');
      assert.ok(!isKnown(12), 'a copy has not started a program, so its end is not reported');
    });

    it('returns no arguments for a process that runs another program than its original', () => {
      table.acceptAudit([shell]);
      proc.add(11, { executable: '/usr/bin/curl', parent: 10 });
      assert.deepEqual(table.find(11), { executable: '/usr/bin/curl' });
    });

    it('returns undefined for missing pids and for circles of parents', () => {
      proc.add(20, { parent: 21, executable: '' });
      proc.add(21, { parent: 20, executable: '' });
      for (const pid of [0, -1, Number.NaN, 4_712, 20]) assert.equal(table.find(pid), undefined, String(pid));
    });
  });

  describe('acceptAudit', () => {
    for (const syscall of ['execve', 'execveat']) {
      it(`stores the program of ${syscall}`, () => {
        table.acceptAudit([event({ syscall })]);
        assert.deepEqual(table.get(4711), { executable: '/usr/bin/ls', commandLine: 'ls -l' });
        assert.ok(isKnown(4711));
      });
    }

    it('keeps the last program', () => {
      table.acceptAudit([event(), event({ fields: { pid: '4711', exe: '/usr/bin/cat' }, commandLine: 'cat' })]);
      assert.deepEqual(table.get(4711), { executable: '/usr/bin/cat', commandLine: 'cat' });
      assert.equal(table.size, 1);
    });

    it('learns an unknown program from a failed execve or another call', () => {
      table.acceptAudit([
        event({ success: false }),
        event({ syscall: 'connect', fields: { pid: '4712', exe: '/usr/bin/curl' } }),
      ]);
      assert.deepEqual(table.get(4711), { executable: '/usr/bin/ls' });
      assert.deepEqual(table.get(4712), { executable: '/usr/bin/curl' });
    });

    it('does not replace a known program by such a call', () => {
      table.acceptAudit([event(), event({ syscall: 'connect', fields: { pid: '4711', exe: '/usr/bin/curl' } })]);
      assert.deepEqual(table.get(4711), { executable: '/usr/bin/ls', commandLine: 'ls -l' });
    });

    it('accepts missing arguments and a missing program', () => {
      const { commandLine: _, ...withoutArguments } = event();
      table.acceptAudit([withoutArguments, event({ fields: { pid: '4712', exe: '' } })]);
      assert.deepEqual(table.get(4711), { executable: '/usr/bin/ls' });
      assert.deepEqual(table.get(4712), { commandLine: 'ls -l' });
      table.seen(4712, '/usr/bin/ls');
      assert.deepEqual(table.get(4712), { executable: '/usr/bin/ls', commandLine: 'ls -l' });
      assert.ok(isKnown(4712));
    });

    it("ignores a program's own record", () => {
      table.acceptAudit([event({ record: 'USER_LOGIN' })]);
      assert.equal(table.size, 0);
    });

    for (const pid of [undefined, '', '0', '-1', '1.5', 'NaN', '1e9', '99999999999', '__proto__']) {
      it(`ignores pid ${pid}`, () => {
        table.acceptAudit([event({ fields: { ...(pid === undefined ? {} : { pid }), exe: '/usr/bin/ls' } })]);
        assert.equal(table.size, 0);
      });
    }
  });

  it('accepts later arguments for the same program, unless it has some', () => {
    table.started({ pid: 1 });
    table.started({ pid: 2, executable: '/bin/y' });
    table.started({ pid: 3, executable: '/bin/y', argv: ['y', 'first'] });
    table.learn(1, undefined, ['x']);
    table.learn(2, '/bin/x', ['x']);
    table.learn(3, '/bin/y', ['y', 'second']);
    table.learn(4, '/bin/y', ['y']);
    assert.deepEqual(
      [1, 2, 3, 4].map((pid) => table.get(pid)),
      [{ commandLine: 'x' }, { executable: '/bin/y' }, { executable: '/bin/y', commandLine: 'y first' }, undefined],
    );
    table.learn(2, '/bin/y', ['y', 'a'.repeat(4_096)]);
    assert.deepEqual(table.get(2), { executable: '/bin/y' });
  });

  it('returns a program once when it exits', () => {
    table.acceptAudit([event()]);
    assert.equal(table.ended(4711), '/usr/bin/ls');
    assert.equal(table.ended(4711), undefined);
    assert.equal(table.get(4711), undefined);
    assert.equal(isKnown(4711), false);
  });

  it('does not assign a start to a process that had exited long before', () => {
    table.acceptAudit([event()]);
    assert.equal(table.hasStarted(4711, milliseconds(now - 3_000)), true); // it was reported late
    assert.equal(table.hasStarted(4711, milliseconds(now - 6_000)), false);
  });

  describe('bounds', () => {
    it('keeps command lines of up to 4,096 characters', () => {
      table.started({ pid: 1, executable: '/bin/x', argv: ['x', 'a'.repeat(4_094)] });
      table.started({ pid: 2, executable: '/bin/x', argv: ['x', 'a'.repeat(4_095)] });
      table.started({ pid: 3, executable: '/bin/x', argv: Array.from({ length: 100_000 }, () => 'xx') });
      assert.equal(table.get(1)?.commandLine?.length, 4_096);
      assert.deepEqual(table.get(2), { executable: '/bin/x' });
      assert.deepEqual(table.get(3), { executable: '/bin/x' });
    });

    it('drops the oldest command lines when there are too many', () => {
      for (let pid = 1; pid <= 600; pid += 1) table.started({ pid, executable: '/bin/x', argv: ['a'.repeat(4_096)] });
      assert.deepEqual(table.get(1), { executable: '/bin/x' });
      assert.equal(table.get(89)?.commandLine?.length, 4_096);
      assert.equal(table.get(600)?.commandLine?.length, 4_096);
      for (let pid = 1; pid <= 600; pid += 1) table.ended(pid);
      for (let pid = 1; pid <= 512; pid += 1) table.started({ pid, argv: ['a'.repeat(4_096)] });
      assert.equal(table.get(1)?.commandLine?.length, 4_096);
    });

    it('drops the oldest processes, exited ones first, and counts them', () => {
      for (const pid of [1, 2, 4]) proc.add(pid);
      for (let pid = 1; pid <= 16_384; pid += 1) table.started({ pid, executable: '/bin/x', argv: [] });
      table.started({ pid: 20_001, executable: '/bin/x', argv: [] }); // 1 and 2 live, 3 doesn't
      assert.deepEqual([1, 2, 3, 4, 20_001].map(isKnown), [true, true, false, true, true]);
      table.started({ pid: 20_002, executable: '/bin/x', argv: [] });
      assert.deepEqual([4, 5, 6].map(isKnown), [true, false, true]);
      assert.equal(table.size, 16_384);
      assert.equal(table.takeEvicted(), 2);
      assert.equal(table.takeEvicted(), 0);
    });

    it('drops a running process if all are running', () => {
      for (let pid = 1; pid <= 9; pid += 1) proc.add(pid);
      for (let pid = 1; pid <= 16_385; pid += 1) table.seen(pid, '/bin/x');
      assert.equal(table.size, 16_384);
      assert.equal(table.get(9), undefined);
      assert.deepEqual(table.get(1), { executable: '/bin/x' });
    });

    it('stays small with long names', () => {
      for (let pid = 1; pid <= 2_000; pid += 1) table.started({ pid, executable: `/${pid}/`.padEnd(4_000, 'x') });
      assert.equal(table.size, 524);
      assert.equal(table.get(2_000)?.executable?.length, 4_000);
      table.started({ pid: 3_000, executable: 'x'.repeat(5_000_000) }); // no kernel reports such a long path
      assert.equal(table.size, 1);
    });

    it('accepts any events and stays small', () => {
      const fields = fc.dictionary(
        fc.constantFrom('pid', 'exe', 'ppid', '__proto__'),
        fc.oneof(fc.integer({ min: -1, max: 40 }).map(String), fc.string()),
      );
      const events = fc.record({
        time: fc.constant(new Date(0)),
        serial: fc.nat(),
        syscall: fc.constantFrom('execve', 'execveat', 'connect', ''),
        success: fc.boolean(),
        fields,
        argv: fc.array(fc.string()),
      });
      fc.assert(
        fc.property(fc.array(events, { maxLength: 10 }), fc.nat(40), (batch, pid) => {
          table.acceptAudit(batch);
          table.ended(pid);
          const { executable = '', commandLine = '' } = table.get(pid + 1) ?? {};
          assert.ok(executable.length <= 4_096 && commandLine.length <= 4_096);
          assert.ok(table.size <= 16_384);
        }),
        { numRuns: fuzzRuns(100_000) },
      );
    });

    setFlagsFromString('--expose-gc');
    const collectGarbage = runInNewContext('gc') as () => void;
    const used = () => {
      collectGarbage();
      return process.memoryUsage().heapUsed;
    };

    it('keeps nothing about any number of exited processes', () => {
      const run = (count: number) => {
        for (let pid = 1; pid <= count; pid += 1) {
          table.started({ pid, executable: `/bin/${pid % 50}`, argv: ['x', String(pid)] });
          if (pid > 200) table.ended(pid - 200);
        }
      };
      run(10_000);
      const before = used();
      run(200_000);
      assert.ok(used() - before < 2_000_000, `${used() - before} bytes`);
    });

    it('copies the needed parts of a record and releases the rest', () => {
      const before = used();
      for (let pid = 1; pid <= 3_000; pid += 1) {
        const record = `${pid} exe=/usr/bin/program-${pid} a0=argument-${pid} ${'x'.repeat(9_000)}`.split('').join('');
        const [, exe = '', argument = ''] = / exe=(\S+) a0=(\S+)/.exec(record) ?? [];
        const commandLine = Buffer.from(argument).toString(); // as in the contract
        table.acceptAudit([event({ fields: { pid: String(pid), exe }, commandLine })]);
      }
      assert.ok(used() - before < 3_000 * 1_000, `${(used() - before) / 3_000} bytes each`);
      assert.equal(table.size, 3_000);
    });
  });

  describe('load', () => {
    it('adds existing processes', async () => {
      proc.add(7, { executable: '/usr/sbin/sshd', argv: ['sshd', '-D'] });
      proc.add(8, { executable: '', argv: ['hidden'] });
      proc.add(9, { executable: '', argv: [], flags: 0x20_0000 }); // a thread of the kernel
      proc.add(10, { executable: '', argv: [], state: 'Z' });
      table = new ProcessTable({ proc: new ProcFolder(proc.path), clock, commandLines: readHere(proc.path) });
      await table.load();
      await nextTurn();
      assert.deepEqual(table.get(7), { executable: '/usr/sbin/sshd', commandLine: 'sshd -D' });
      assert.deepEqual(table.get(8), { commandLine: 'hidden' });
      assert.equal(table.size, 2);
      assert.ok(isKnown(7));
    });

    it('keeps known processes', async () => {
      proc.add(4711);
      table.acceptAudit([event()]);
      await table.load();
      assert.deepEqual(table.get(4711), { executable: '/usr/bin/ls', commandLine: 'ls -l' });
    });

    it('completes what records of other actions than the start have said', async () => {
      proc.add(7, { executable: '/usr/sbin/sshd', argv: ['sshd', '-D'], parent: 5 });
      table = new ProcessTable({ proc: new ProcFolder(proc.path), clock, commandLines: readHere(proc.path) });
      table.acceptAudit([event({ syscall: 'connect', fields: { pid: '7', exe: '/usr/sbin/sshd' } })]);
      await table.load();
      await nextTurn();
      const process = table.processAt(7, { time: Date.now() });
      assert.deepEqual([process?.parentPid, process?.commandLine], [5, 'sshd -D']);
    });

    it('yields to other work', async () => {
      for (let pid = 1; pid <= 3; pid += 1) proc.add(pid);
      let sizeDuringLoad = 0;
      const slow = {
        ...clock,
        monotonic: () => {
          now += 3;
          return milliseconds(now);
        },
      };
      const slowTable = new ProcessTable({ proc: new ProcFolder(proc.path), clock: slow });
      const loading = slowTable.load();
      assert.equal(slowTable.load(), loading);
      setImmediate(() => {
        sizeDuringLoad = slowTable.size;
      });
      await loading;
      assert.ok(sizeDuringLoad > 0 && sizeDuringLoad < 3, `${sizeDuringLoad}`);
      assert.equal(slowTable.size, 3);
    });

    it('skips processes that the agent itself started, whose exits are not reported', async () => {
      rememberOwn(7);
      proc.add(7, { parent: process.pid });
      proc.add(8, { parent: process.pid });
      await table.load();
      assert.deepEqual([isKnown(7), isKnown(8)], [false, true]);
    });

    it('does not wait for arguments, and reads none itself', async () => {
      proc.add(7);
      rmSync(join(proc.path, '7/cmdline'));
      table = new ProcessTable({
        proc: new ProcFolder(proc.path),
        clock,
        commandLines: { read: () => new Promise(() => {}) },
      });
      await table.load();
      assert.deepEqual(table.get(7), { executable: '/bin/x' });
    });

    it('stops when it is aborted, and rejects without /proc', async () => {
      proc.add(7);
      await table.load(AbortSignal.abort());
      assert.equal(table.size, 0);
      rmSync(proc.path, { recursive: true });
      await assert.rejects(table.load(), { code: 'ENOENT' });
      assert.ok(table.needsLoading);
    });
  });

  describe('doubt', () => {
    const inDoubt = (at: number) => table.isInDoubt(milliseconds(at));

    it('lasts until the first scan of /proc', async () => {
      assert.ok(inDoubt(now) && inDoubt(now - 100_000));
      assert.ok(table.needsLoading);
      await table.load();
      assert.ok(inDoubt(now));
      assert.equal(table.needsLoading, false);
      later(1);
      assert.equal(inDoubt(now), false);
    });

    it('starts somewhat before a loss, and ends with the next scan', async () => {
      await table.load();
      later(60_000);
      const lostAt = now;
      table.startsLost();
      assert.deepEqual([lostAt - 7_000, lostAt - 5_000, lostAt, lostAt + 9_000].map(inDoubt), [
        false,
        true,
        true,
        true,
      ]);
      later(1_000);
      await table.load();
      assert.deepEqual([lostAt - 5_000, lostAt + 1_000, lostAt + 1_001].map(inDoubt), [true, true, false]);
    });

    it('continues from one loss to the next', async () => {
      await table.load();
      later(60_000);
      const first = now;
      table.startsLost();
      await table.load();
      later(10_000);
      table.startsLost();
      assert.ok(inDoubt(first - 5_000) && inDoubt(now + 1));
      await table.load();
      later(60_000);
      table.startsLost();
      assert.equal(inDoubt(first), false);
    });

    it('continues after a scan during which starts were lost again', async () => {
      proc.add(7);
      later(1);
      const clockWithLoss = {
        ...clock,
        monotonic: () => {
          now += 10;
          return milliseconds(now);
        },
      };
      const slowTable = new ProcessTable({ proc: new ProcFolder(proc.path), clock: clockWithLoss });
      const loading = slowTable.load();
      slowTable.startsLost();
      await loading;
      assert.ok(slowTable.needsLoading);
    });

    it('turns a process that is only seen into a start', async () => {
      proc.add(1);
      await table.load();
      later(60_000);
      table.seen(4711, '/usr/bin/curl');
      assert.equal(isKnown(4711), false); // a copy, since no start was lost
      table.startsLost();
      table.seen(4712, '/usr/bin/curl');
      assert.equal(isKnown(4712), true);
    });

    it('turns a process seen earlier into a start if it still exists', async () => {
      await table.load();
      later(60_000);
      table.seen(4711, '/usr/bin/curl');
      later(60_000);
      table.seen(4712, '/usr/bin/curl');
      table.startsLost();
      proc.add(4711, { executable: '/usr/bin/curl' });
      proc.add(4712, { executable: '/usr/bin/curl' });
      await table.load();
      assert.deepEqual([4711, 4712].map(isKnown), [false, true]);
    });
  });

  describe('findGone', () => {
    beforeEach(() => {
      for (const pid of [1, 2, 3]) {
        proc.add(pid, { start: 90_000 });
        table.started({ pid, executable: '/bin/x', argv: [] });
      }
    });
    const findGone = async () => (await table.findGone(() => false)).map(({ pid }) => pid);

    it('returns processes that have exited', async () => {
      assert.deepEqual(await findGone(), []);
      proc.remove(2);
      assert.deepEqual(await findGone(), [2]);
    });

    it('yields to other work', async () => {
      for (const pid of [1, 2, 3]) proc.remove(pid);
      const clock = {
        ...systemClock,
        monotonic: () => {
          now += 10;
          return milliseconds(now);
        },
      };
      const slowTable = new ProcessTable({ proc: new ProcFolder(proc.path), clock });
      for (const pid of [1, 2, 3]) slowTable.started({ pid, executable: '/bin/x', argv: [] });
      let isDone = false;
      let ranBefore = false;
      setImmediate(() => {
        ranBefore = !isDone;
      });
      const found = await slowTable.findGone(() => false);
      isDone = true;
      await nextTurn();
      assert.equal(found.length, 3);
      assert.ok(ranBefore);
    });

    it('skips processes whose exit is already known', async () => {
      proc.remove(2);
      assert.deepEqual(await table.findGone((pid) => pid === 2), []);
    });

    it('returns a process whose pid belongs to another process', async () => {
      later(60_000);
      proc.add(2, { start: 105_000 });
      assert.deepEqual(await findGone(), [2]);
    });

    it('skips a process that started before it was reported', async () => {
      later(60_000);
      table.started({ pid: 2, executable: '/bin/y', argv: [] });
      assert.deepEqual(await findGone(), []);
    });

    it('skips a process after the machine slept', async () => {
      now += 1_000;
      proc.uptime(5_000); // counts the sleep, which the monotonic clock doesn't
      assert.deepEqual(await findGone(), []);
    });

    it('returns processes that are dropped once, unless replaced by another', async () => {
      for (const pid of [1, 2, 3]) proc.remove(pid);
      const [one, two, three] = await table.findGone(() => false);
      assert.ok(one && two && three);
      table.started({ pid: 2, executable: '/bin/y', argv: [] });
      assert.equal(table.forgetGone(one), true);
      assert.equal(table.forgetGone(one), false);
      assert.equal(table.forgetGone(two), false);
      table.ended(3);
      assert.equal(table.forgetGone(three), false);
      assert.equal(table.size, 1);
    });

    it('does not count processes that never executed a program as lost', async () => {
      await table.load();
      later(seconds(60));
      table.seen(9, '/bin/x');
      const exited = await table.findGone(() => false);
      assert.deepEqual(
        exited.map((of) => [of.pid, table.forgetGone(of)]),
        [[9, false]],
      );
    });

    it('returns nothing without /proc', async () => {
      rmSync(join(proc.path, 'uptime'));
      await assert.rejects(
        table.findGone(() => false),
        { code: 'ENOENT' },
      );
    });
  });
});
