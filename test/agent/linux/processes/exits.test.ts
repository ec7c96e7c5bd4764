import assert from 'node:assert/strict';
import { join } from 'node:path';
import { pino } from 'pino';
import sinon from 'sinon';
import { ProcFolder } from '../../../../src/agent/host/proc-folder.ts';
import { MAX_WATCHED } from '../../../../src/agent/linux/processes/connector/messages.ts';
import { ExitSource, MAX_HELD_EXITS } from '../../../../src/agent/linux/processes/exits.ts';
import { ProcessTable } from '../../../../src/agent/linux/processes/process-table.ts';
import { HeldCount } from '../../../../src/agent/linux/source-state/held-count.ts';
import { NoteFile } from '../../../../src/agent/state/note-file.ts';
import { systemClock } from '../../../../src/core/base/clock.ts';
import { milliseconds, minutes } from '../../../../src/core/base/duration.ts';
import type { AgentError } from '../../../../src/core/base/errors.ts';
import { untilBeat } from '../../../../src/core/base/waiting.ts';
import type { ProcessEnded, StreamSink } from '../../../../src/core/contract/streams.ts';
import { answerTo, execOf, exitOf } from './connector/datagrams.ts';
import { FakeSocket, fakeConnector } from './connector/fake-connector.ts';
import { runFilter } from './connector/run-filter.ts';
import { FakeProc } from './fake-proc.ts';

describe('ExitSource', () => {
  let time: sinon.SinonFakeTimers;
  let proc: FakeProc;
  let table: ProcessTable;
  let socket: FakeSocket;
  let held: HeldCount;
  let exits: ExitSource;
  let given: ProcessEnded[];
  let dropped: Record<string, number>;
  const lost: AgentError[] = [];
  let startsRead: (() => number) | undefined;
  let startsSettled: (() => number) | undefined;
  const log = pino({ level: 'silent' });
  const sink = {
    accept: (_stream: 'exits', records: readonly ProcessEnded[]) => given.push(...records),
    drop: (stream: string, reason: string, count: number) => {
      dropped[`${stream} ${reason}`] = (dropped[`${stream} ${reason}`] ?? 0) + count;
    },
  } as unknown as StreamSink;

  beforeEach(async () => {
    time = sinon.useFakeTimers({ now: new Date('2024-05-01T12:00:00Z') });
    await time.tickAsync(100_000); // so that there is a time before
    proc = new FakeProc();
    table = new ProcessTable({ proc: new ProcFolder(proc.path), clock: systemClock });
    socket = new FakeSocket();
    given = [];
    dropped = {};
    lost.length = 0;
    startsRead = undefined;
    startsSettled = undefined;
    held = heldCount();
    held.countKilled();
    exits = new ExitSource({
      table,
      sink,
      clock: systemClock,
      log,
      hostRoot: proc.hostRoot,
      startsRead: () => (startsRead?.() ?? systemClock.monotonic()) as never,
      startsSettled: () => (startsSettled?.() ?? (startsRead?.() ?? systemClock.monotonic()) - 8_000) as never,
      onLost: (reason) => lost.push(reason),
      connect: () => fakeConnector(socket),
      held,
    });
    await table.load();
    await time.tickAsync(1);
    await exits.open();
  });
  afterEach(async () => {
    await close();
    time.restore();
    proc.close();
  });

  const heldCount = () => {
    const note = new NoteFile(join(proc.hostRoot, 'held-exits.json'));
    return new HeldCount({ stream: 'exits', max: MAX_HELD_EXITS, sink, note, log });
  };
  const close = async () => {
    const closing = exits.close();
    await time.tickAsync(1_000);
    await closing;
  };
  const start = (pid: number, executable = '/bin/x') => table.started({ pid, executable, argv: [] });
  const deliver = (...datagrams: Buffer[]) => socket.waiting.push(...datagrams);
  const nanoseconds = () => systemClock.monotonic() * 1e6;
  const pids = () => given.map(({ pid }) => pid);
  const programs = () => given.map(({ pid, executable }) => [pid, executable]);
  const results = () => given.map(({ executable, exitStatus }) => [executable, exitStatus]);
  const statuses = () => given.map(({ exitStatus }) => exitStatus);

  it('reports which process exited, when and how', async () => {
    start(4711);
    const now = systemClock.now();
    deliver(exitOf(4711, 9, { nanoseconds: nanoseconds() }));
    await time.tickAsync(1_000);
    assert.deepEqual(given, [{ time: now, pid: 4711, executable: '/bin/x', exitStatus: 137, signal: 'SIGKILL' }]);
    assert.equal(table.size, 0);
    assert.deepEqual(dropped, {});
  });

  describe('for the count of held exits, which the next run reports if this one is killed', () => {
    const noted = () => (new NoteFile(join(proc.hostRoot, 'held-exits.json')).read() as { held: number }).held;

    it('stores the number of exits that are due to be reported', async () => {
      start(4711);
      start(4712);
      deliver(exitOf(4711), exitOf(4712), exitOf(4713));
      await time.tickAsync(250);
      assert.equal(noted(), 2);
      heldCount().countKilled(); // the one that is open is as good as killed
      assert.deepEqual(dropped, { 'exits killed': 2 });
    });

    it('does not count reported exits', async () => {
      start(4711);
      deliver(exitOf(4711));
      await time.tickAsync(250);
      assert.equal(noted(), 1);
      await time.tickAsync(1_000);
      assert.equal(noted(), 0);
    });
  });

  it('reports held exits on close even if the remaining ones are unreadable', async () => {
    start(4711);
    deliver(exitOf(4711));
    await time.tickAsync(100);
    assert.deepEqual(pids(), []);
    socket.broken = new Error('broken');
    await close();
    assert.deepEqual(pids(), [4711]);
  });

  it('waits for a start that is read later', async () => {
    deliver(exitOf(4711));
    await time.tickAsync(100);
    start(4711);
    await time.tickAsync(1_000);
    assert.deepEqual(pids(), [4711]);
  });

  it('waits for the last executed program', async () => {
    start(4711, '/bin/sh');
    deliver(exitOf(4711));
    await time.tickAsync(100);
    start(4711, '/bin/ls');
    await time.tickAsync(1_000);
    assert.deepEqual(
      given.map(({ executable }) => executable),
      ['/bin/ls'],
    );
  });

  it('waits for any time until the starts have been read', async () => {
    const stuck = systemClock.monotonic();
    startsRead = () => stuck;
    start(4711, '/bin/sh');
    deliver(exitOf(4711));
    deliver(exitOf(4712));
    const ended = systemClock.monotonic();
    await time.tickAsync(60_000);
    assert.deepEqual(pids(), []);
    // The records say when it was.
    table.started({ pid: 4711, executable: '/bin/ls', argv: [], since: ended });
    table.started({ pid: 4712, executable: '/bin/true', argv: [], since: ended });
    startsRead = undefined;
    await time.tickAsync(1_000);
    assert.deepEqual(programs(), [
      [4711, '/bin/ls'],
      [4712, '/bin/true'],
    ]);
    assert.deepEqual(dropped, {});
  });

  it('reports in the same beat in which the starts are read', async () => {
    const beat = milliseconds(500);
    let read = systemClock.monotonic();
    startsRead = () => read;
    await time.tickAsync(5_000);
    const isDelivered = new AbortController();
    const readStarts = async () => {
      while (!isDelivered.signal.aborted) {
        await systemClock.sleep(untilBeat(systemClock, beat), isDelivered.signal);
        for (let step = 0; step < 20; step += 1) await Promise.resolve(); // reading takes longer there
        read = systemClock.monotonic();
      }
    };
    const reading = readStarts();
    await time.tickAsync(beat - (systemClock.monotonic() % beat) + 100);
    start(4711);
    deliver(exitOf(4711));
    const ended = systemClock.monotonic();
    while (given.length === 0 && systemClock.monotonic() < ended + 5_000) await time.tickAsync(1);
    isDelivered.abort();
    await reading;
    assert.deepEqual(pids(), [4711]);
    assert.ok(systemClock.monotonic() - ended <= beat, `told after ${systemClock.monotonic() - ended} ms`);
  });

  it('does not treat an exit as that of a copy before it is known which starts were lost', async () => {
    const stuck = systemClock.monotonic() - 1_000;
    startsSettled = () => stuck;
    deliver(exitOf(4711), exitOf(4712));
    const ended = systemClock.monotonic();
    await time.tickAsync(60_000);
    table.started({ pid: 4711, executable: '/bin/true', argv: [], since: ended });
    table.startsLost(milliseconds(ended - 1_000));
    startsSettled = undefined;
    await time.tickAsync(10_000);
    assert.deepEqual(programs(), [
      [4711, '/bin/true'],
      [4712, undefined],
    ]);
  });

  it('orders exits and starts by when they happened, even if they are read late and in any order', async () => {
    const now = systemClock.monotonic();
    socket.waiting.push(exitOf(4711, 1 << 8, { nanoseconds: (now + 1_000) * 1e6 }));
    time.jump(30_000); // the agent is stopped
    table.started({ pid: 4711, executable: '/bin/y', argv: [], since: milliseconds(now + 20_000) });
    proc.add(4711, { start: 11_900 });
    proc.uptime(130);
    await time.tickAsync(20_000);
    assert.deepEqual(pids(), [], 'the end of a copy is told as that of who got its pid 19 s later');
    assert.equal(table.get(4711)?.executable, '/bin/y');
    assert.deepEqual(dropped, {});
  });

  describe('for exits read long after they happened, after the agent was stopped', () => {
    let before: number;
    const endOf = (pid: number, seconds: number) =>
      deliver(exitOf(pid, 0, { nanoseconds: (before + seconds * 1_000) * 1e6 }));
    beforeEach(() => {
      before = systemClock.monotonic();
    });

    it('assigns an exit to the process that had the pid before another one', async () => {
      start(4711);
      endOf(4711, 1);
      time.jump(30_000);
      proc.add(4711, { start: 11_900 });
      proc.uptime(130);
      await time.tickAsync(1_000);
      assert.deepEqual(pids(), [4711]);
      assert.deepEqual(dropped, {});
    });

    it('waits only for starts from before the exit', async () => {
      startsRead = () => before + 2_000;
      for (const pid of [4711, 4712]) start(pid);
      endOf(4711, 1);
      endOf(4712, 3);
      time.jump(30_000);
      await time.tickAsync(1_000);
      assert.deepEqual(pids(), [4711]);
    });

    it('treats an exit without a start as that of a copy if starts were lost only afterwards', async () => {
      endOf(4711, 1);
      endOf(4712, 25);
      time.jump(30_000);
      table.startsLost(milliseconds(before + 20_000));
      await time.tickAsync(20_000);
      assert.deepEqual(pids(), [4712]);
    });

    it("never reports a time in the future, regardless of the kernel's time", async () => {
      start(4711);
      endOf(4711, 60);
      await time.tickAsync(1_000);
      assert.deepEqual(pids(), [4711]);
    });
  });

  it('counts as unresolved the exits dropped because their start is missing', async () => {
    startsRead = () => 0;
    startsSettled = () => 0;
    for (let pid = 1; pid <= 33_000; pid += 1) deliver(exitOf(pid));
    await time.tickAsync(1_000);
    for (let pid = 1; pid <= 7; pid += 1) start(pid);
    socket.overruns += 1; // has it look for processes that are gone
    await time.tickAsync(10_000);
    assert.deepEqual(dropped, { 'exits unresolved': 7 });
  });

  it('does not report copies that executed no program', async () => {
    deliver(exitOf(4711));
    table.seen(4712, '/bin/sh'); // it made a connection
    deliver(exitOf(4712));
    await time.tickAsync(20_000);
    assert.deepEqual(pids(), []);
    assert.equal(table.size, 0);
    assert.deepEqual(dropped, {});
  });

  it('accepts a start that is reported very late', async () => {
    deliver(exitOf(4711));
    await time.tickAsync(3_000);
    start(4711);
    await time.tickAsync(7_000);
    assert.deepEqual(pids(), [4711]);
  });

  it('reports exits without a start while starts are lost, even if that is known later', async () => {
    deliver(exitOf(4711));
    await time.tickAsync(5_000);
    table.startsLost();
    table.seen(4712, '/usr/bin/curl');
    deliver(exitOf(4712));
    await time.tickAsync(20_000);
    deliver(exitOf(4713)); // long after, when /proc has been read again
    await time.tickAsync(20_000);
    assert.deepEqual(programs(), [
      [4712, '/usr/bin/curl'],
      [4711, undefined],
    ]);
  });

  it('reports an exit without a start even if its pid is in use again', async () => {
    deliver(exitOf(4711, 1 << 8));
    await time.tickAsync(2_000);
    start(4711, '/bin/y');
    deliver(exitOf(4711, 2 << 8));
    await time.tickAsync(100);
    table.startsLost();
    await time.tickAsync(20_000);
    assert.deepEqual(results(), [
      ['/bin/y', 2],
      [undefined, 1],
    ]);
  });

  it('reports two exits without a start that had the same pid in quick succession', async () => {
    deliver(exitOf(4711, 1 << 8));
    await time.tickAsync(3_000);
    deliver(exitOf(4711, 2 << 8));
    await time.tickAsync(100);
    table.startsLost();
    await time.tickAsync(20_000);
    assert.deepEqual(results(), [
      [undefined, 1],
      [undefined, 2],
    ]);
  });

  it('keeps a process that has reused the pid of a copy', async () => {
    deliver(exitOf(4711));
    await time.tickAsync(6_000);
    start(4711, '/bin/y');
    await time.tickAsync(10_000);
    assert.deepEqual(pids(), []);
    assert.equal(table.get(4711)?.executable, '/bin/y');
  });

  it('reads /proc again after a loss, but not continuously', async () => {
    proc.add(7, { executable: '/usr/sbin/sshd' });
    table.startsLost();
    await time.tickAsync(1_000);
    assert.deepEqual(table.get(7)?.executable, '/usr/sbin/sshd');
    proc.add(8);
    table.startsLost();
    await time.tickAsync(28_000);
    assert.equal(table.get(8), undefined);
    await time.tickAsync(2_000);
    assert.notEqual(table.get(8), undefined);
  });

  it('reports each of many exits', async () => {
    for (let pid = 1; pid <= 3_000; pid += 1) {
      start(pid);
      deliver(exitOf(pid, pid << 8));
    }
    await time.tickAsync(2_000);
    assert.deepEqual(
      statuses(),
      Array.from({ length: 3_000 }, (_, index) => (index + 1) & 0xff),
    );
  });

  it('keeps the times of exits that are read in several batches', async () => {
    const endedAt = systemClock.now().getTime();
    for (let pid = 1; pid <= 1_100; pid += 1) {
      start(pid);
      deliver(exitOf(pid, 0, { nanoseconds: nanoseconds() }));
    }
    time.jump(5_000); // the agent is stopped
    await time.tickAsync(2_000);
    assert.deepEqual(new Set(given.map((exit) => exit.time.getTime())), new Set([endedAt]));
    assert.equal(given.length, 1_100);
  });

  it('stops waiting when too many exits wait', async () => {
    for (let pid = 1; pid <= 16_500; pid += 1) {
      if (pid <= 200) start(pid);
      deliver(exitOf(pid));
    }
    await time.tickAsync(100);
    assert.equal(given.length, 116);
    await time.tickAsync(9_000);
    assert.equal(given.length, 200);
  });

  it('skips datagrams that the kernel could not filter', async () => {
    start(4711);
    deliver(execOf(4711), exitOf(4711, 0, { threadId: 4712 }), answerTo(7), Buffer.alloc(3));
    await time.tickAsync(1_000);
    assert.deepEqual(pids(), []);
  });

  it('continues to report, and closes, while datagrams arrive faster than they are read', async () => {
    await close();
    socket = new FakeSocket();
    let passed = 0;
    const clock = { ...systemClock, monotonic: () => milliseconds(systemClock.monotonic() + passed) };
    const connect = () => fakeConnector(socket);
    exits = new ExitSource({ table, sink, clock, log, hostRoot: proc.hostRoot, connect });
    await exits.open();
    start(4711);
    deliver(exitOf(4711, 9));
    socket.endless = () => {
      passed += 1;
      return execOf(1);
    };
    await time.tickAsync(1_000);
    assert.deepEqual(pids(), [4711]);
    await close();
    assert.ok(socket.isClosed);
  });

  describe('for a process that still exists', () => {
    beforeEach(() => start(4711));

    it('reports the exit of a zombie', async () => {
      proc.add(4711, { state: 'Z' });
      deliver(exitOf(4711, 7 << 8));
      await time.tickAsync(1_000);
      assert.deepEqual(pids(), [4711]);
    });

    it('reports no exit if another thread than the first executed a program', async () => {
      proc.add(4711);
      deliver(exitOf(4711));
      await time.tickAsync(1_000);
      assert.deepEqual(pids(), []);
      assert.notEqual(table.get(4711), undefined);
      proc.remove(4711);
      deliver(exitOf(4711, 5 << 8));
      await time.tickAsync(1_000);
      assert.deepEqual(statuses(), [5]);
    });

    it('reports one exit if the process exits soon after such a start', async () => {
      deliver(exitOf(4711), exitOf(4711, 5 << 8));
      await time.tickAsync(1_000);
      assert.deepEqual(statuses(), [5]);
    });

    it('reports the exit if the pid belongs to a process that started later', async () => {
      proc.uptime(1_000);
      deliver(exitOf(4711));
      await time.tickAsync(60);
      startsRead = () => 0;
      await time.tickAsync(3_000);
      proc.add(4711, { start: 99_900 });
      startsRead = undefined;
      await time.tickAsync(1_000);
      assert.deepEqual(pids(), [4711]);
    });

    it('reports no exit for one of many', async () => {
      for (let pid = 1; pid <= 100; pid += 1) {
        start(pid);
        deliver(exitOf(pid));
      }
      deliver(exitOf(4711));
      proc.add(4711);
      proc.add(50);
      await time.tickAsync(1_000);
      assert.equal(given.length, 99);
    });

    it('reports the exit with the last thread if the first one exits before', async () => {
      proc.add(4711, { state: 'Z', threads: [4711, 4712] });
      deliver(exitOf(4711));
      await time.tickAsync(1_000);
      assert.deepEqual(pids(), []);
      const [, filter] = socket.filters; // the first is in force since the start
      assert.ok(filter && runFilter(filter, exitOf(4711, 0, { threadId: 4712 })) > 0);
      deliver(exitOf(4711, 5 << 8, { threadId: 4712, nanoseconds: nanoseconds() }));
      const now = systemClock.now();
      proc.remove(4711);
      await time.tickAsync(2_000);
      assert.deepEqual(given, [{ time: now, pid: 4711, executable: '/bin/x', exitStatus: 5 }]);
      assert.equal(runFilter(socket.filters.at(-1) ?? filter, exitOf(4711, 0, { threadId: 4712 })), 0);
    });

    it('reports no exit of a copy, even if its first thread exits before the others', async () => {
      proc.add(4712, { state: 'Z', threads: [4712, 4713] });
      deliver(exitOf(4712));
      await time.tickAsync(1_000);
      proc.remove(4712);
      await time.tickAsync(20_000);
      assert.deepEqual(pids(), []);
    });

    it('stops watching when a thread executes a program', async () => {
      proc.add(4711, { state: 'Z', threads: [4711, 4712] });
      deliver(exitOf(4711));
      await time.tickAsync(1_000);
      proc.add(4711);
      await time.tickAsync(2_000);
      assert.equal(socket.filters.length, 3);
      deliver(exitOf(4711, 5 << 8));
      proc.remove(4711);
      await time.tickAsync(1_000);
      assert.deepEqual(statuses(), [5]);
    });

    describe('that is one of too many to watch:', () => {
      const count = MAX_WATCHED + 3;
      const endFirstThreads = async () => {
        for (let pid = 1; pid <= count; pid += 1) {
          proc.add(pid, { state: 'Z', threads: [pid, 9_999] });
          deliver(exitOf(pid));
        }
        await time.tickAsync(1_000);
      };
      const endAll = async () => {
        for (let pid = 1; pid <= count; pid += 1) proc.remove(pid);
        await time.tickAsync(minutes(3));
      };

      beforeEach(() => {
        proc.add(4711);
      });

      it('counts the exit once, when the process has exited, and keeps it until then', async () => {
        for (let pid = 1; pid <= count; pid += 1) start(pid);
        await endFirstThreads();
        assert.deepEqual(dropped, {});
        assert.equal(table.size, count + 1);
        await endAll();
        assert.equal(given.length, MAX_WATCHED);
        assert.deepEqual(dropped, { 'exits unresolved': 3 });
        assert.equal(table.size, 1);
        assert.equal(lost.length, 0);
      });

      it('counts the exit once if the start is read after the exit of the first thread', async () => {
        startsRead = () => 0;
        await endFirstThreads();
        for (let pid = 1; pid <= count; pid += 1) start(pid);
        startsRead = undefined;
        await endAll();
        assert.equal(given.length, MAX_WATCHED);
        assert.deepEqual(dropped, { 'exits unresolved': 3 });
      });

      it('does not count the exit of a copy that executed no program', async () => {
        await endFirstThreads();
        await endAll();
        assert.deepEqual(dropped, {});
        assert.deepEqual(pids(), []);
      });

      it('counts the exit immediately if its start was lost', async () => {
        table.startsLost();
        await endFirstThreads();
        assert.deepEqual(dropped, { 'exits unresolved': 3 });
      });

      it('reports the exit if another thread than the first executed a program', async () => {
        for (let pid = 1; pid <= count; pid += 1) start(pid);
        await endFirstThreads();
        start(count);
        proc.add(count);
        await time.tickAsync(1_000);
        deliver(exitOf(count, 5 << 8));
        await endAll();
        assert.ok(pids().includes(count));
        assert.deepEqual(dropped, { 'exits unresolved': 2 });
      });
    });
  });

  describe('for lost exits', () => {
    it('counts missing processes soon after the kernel reports dropped exits', async () => {
      for (const pid of [1, 2, 3]) start(pid);
      proc.add(3);
      socket.overruns += 1;
      await time.tickAsync(5_000);
      assert.deepEqual(dropped, {});
      await time.tickAsync(4_000);
      assert.deepEqual(dropped, { 'exits kernel': 2 });
      assert.deepEqual(pids(), []);
      assert.equal(table.size, 1);
      assert.equal(lost.length, 0);
    });

    it('does not count an exit that arrives during the search', async () => {
      for (const pid of [1, 2]) start(pid);
      socket.overruns += 1;
      await time.tickAsync(6_600);
      deliver(exitOf(1));
      await time.tickAsync(3_000);
      assert.deepEqual(pids(), [1]);
      assert.deepEqual(dropped, { 'exits kernel': 1 });
    });

    it('does not count processes that were only seen or have exited', async () => {
      table.seen(1, '/bin/x');
      start(2);
      deliver(exitOf(2));
      socket.overruns += 1;
      await time.tickAsync(9_000);
      assert.deepEqual(dropped, {});
    });

    it("counts at least the kernel's own number while starts are lost as well", async () => {
      start(1);
      socket.overruns += 3; // without a line in /proc, each is one
      await time.tickAsync(3_000);
      table.startsLost();
      await time.tickAsync(6_000);
      assert.deepEqual(dropped, { 'exits kernel': 3 });
    });

    it('searches once per minute as well, and reports the source as silent without any exit', async () => {
      start(1);
      await time.tickAsync(59_000);
      assert.deepEqual(dropped, {});
      deliver(exitOf(9));
      await time.tickAsync(4_000);
      assert.deepEqual(dropped, { 'exits kernel': 1 });
      assert.equal(lost.length, 0);
      start(2);
      await time.tickAsync(64_000);
      assert.deepEqual(dropped, { 'exits kernel': 2 });
      assert.match(lost[0]?.message ?? '', /stopped reporting/);
      assert.equal(lost.length, 1);
    });

    it('searches on close', async () => {
      for (const pid of [1, 2, 3]) start(pid);
      proc.add(3);
      deliver(exitOf(1));
      await close();
      assert.deepEqual(pids(), [1]);
      assert.deepEqual(dropped, { 'exits kernel': 1 });
    });

    it('does not count processes that exited while it was not listening', async () => {
      await close();
      for (const pid of [1, 2]) start(pid);
      proc.add(2);
      socket = new FakeSocket();
      await exits.open();
      await time.tickAsync(70_000);
      assert.deepEqual(dropped, {});
      assert.equal(table.size, 1);
    });

    it('counts processes dropped from the table', async () => {
      for (let pid = 1; pid <= 16_386; pid += 1) start(pid);
      await time.tickAsync(1_000);
      assert.deepEqual(dropped, { 'exits unresolved': 2 });
    });
  });

  it('reports waiting exits and unsubscribes on close', async () => {
    start(4711);
    deliver(exitOf(4711));
    await close();
    assert.deepEqual(pids(), [4711]);
    assert.ok(socket.isClosed);
    assert.equal(time.countTimers(), 0);
    await close();
    assert.equal(socket.requests.length, 2);
  });

  it('reports the source as lost when reading fails', async () => {
    socket.broken = Object.assign(new Error('EBADF: bad file descriptor, read'), { code: 'EBADF' });
    await time.tickAsync(1_000);
    assert.deepEqual(
      lost.map(({ id }) => id),
      ['SOCKET_UNAVAILABLE'],
    );
    await close();
  });

  it('continues without /proc', async () => {
    start(4711);
    proc.remove(4711);
    deliver(exitOf(4711));
    await time.tickAsync(1_000);
    assert.deepEqual(pids(), [4711]);
  });
});
