import assert from 'node:assert/strict';
import { pino } from 'pino';
import sinon from 'sinon';
import { ProcFolder } from '../../../../src/agent/host/proc-folder.ts';
import type { CommandLine, CommandLineSource } from '../../../../src/agent/linux/processes/memory/command-lines.ts';
import { ConnectorProcesses } from '../../../../src/agent/linux/processes/process-connector.ts';
import { ProcessTable } from '../../../../src/agent/linux/processes/process-table.ts';
import type { HeldCount } from '../../../../src/agent/linux/source-state/held-count.ts';
import { systemClock } from '../../../../src/core/base/clock.ts';
import { milliseconds } from '../../../../src/core/base/duration.ts';
import type { AgentError } from '../../../../src/core/base/errors.ts';
import type { ProcessStarted, StreamSink } from '../../../../src/core/contract/streams.ts';
import { execOf, exitOf } from './connector/datagrams.ts';
import { FakeSocket, fakeConnector } from './connector/fake-connector.ts';
import { FakeProc } from './fake-proc.ts';
import { readHere } from './memory/read-here.ts';

describe('ConnectorProcesses', () => {
  let time: sinon.SinonFakeTimers;
  let proc: FakeProc;
  let table: ProcessTable;
  let socket: FakeSocket;
  let processes: ConnectorProcesses;
  let seen: ProcessStarted[];
  let dropped: Record<string, number>;
  const lost: AgentError[] = [];
  const noted: number[] = [];
  const sink = {
    accept: (_stream: 'starts', records: readonly ProcessStarted[]) => seen.push(...records),
    drop: (stream: string, reason: string, count: number) => {
      dropped[`${stream} ${reason}`] = (dropped[`${stream} ${reason}`] ?? 0) + count;
    },
  } as unknown as StreamSink;

  let commandLines: CommandLineSource;
  const make = (clock = systemClock) =>
    new ConnectorProcesses({
      sink,
      clock,
      table,
      log: pino({ level: 'silent' }),
      hostRoot: proc.hostRoot,
      commandLines,
      heldStarts: { set: (count: number) => void noted.push(count) } as unknown as HeldCount,
      onLost: (reason) => lost.push(reason),
      connect: () => fakeConnector(socket),
    });

  beforeEach(() => {
    time = sinon.useFakeTimers({ now: new Date('2024-05-01T12:00:00Z') });
    proc = new FakeProc();
    table = new ProcessTable({ proc: new ProcFolder(proc.path), clock: systemClock });
    commandLines = readHere(proc.path);
    socket = new FakeSocket();
    seen = [];
    dropped = {};
    lost.length = 0;
    noted.length = 0;
    processes = make();
    processes.open();
    processes.open();
  });
  afterEach(async () => {
    await processes.close();
    time.restore();
    proc.close();
  });

  const deliver = (...datagrams: Buffer[]) => socket.waiting.push(...datagrams);
  const pids = () => seen.map(({ pid }) => pid);

  it('reports a started program and its time', async () => {
    const now = systemClock.now();
    proc.add(4711, { parent: 4, argv: ['ls', '-l'], executable: '/usr/bin/ls (deleted)' });
    deliver(execOf(4711, { nanoseconds: systemClock.monotonic() * 1e6 }));
    await time.tickAsync(50);
    assert.deepEqual(seen, [
      {
        time: now,
        pid: 4711,
        parentPid: 4,
        userId: 1_000,
        commandLine: 'ls -l',
        argv: ['ls', '-l'],
        executable: '/usr/bin/ls',
      },
    ]);
    assert.deepEqual(dropped, {});
  });

  it('counts starts of processes that already exited, and marks a loss in the table', async () => {
    proc.add(2, { state: 'Z' });
    proc.add(3);
    proc.add(4, { executable: '', argv: [] });
    deliver(execOf(1), execOf(2), execOf(3), execOf(4));
    await time.tickAsync(50);
    assert.deepEqual(pids(), [3]);
    assert.deepEqual(dropped, { 'starts unresolved': 3 });
    const started = [1, 2, 4].map((pid) => table.hasStarted(pid, systemClock.monotonic()));
    assert.deepEqual(started, [true, true, true]);
  });

  it('continues reading before arguments are known, and reports starts in order', async () => {
    await processes.close();
    socket = new FakeSocket();
    const answers: ((lines: readonly CommandLine[]) => void)[] = [];
    commandLines = { read: () => new Promise((resolve) => answers.push(resolve)) };
    processes = make();
    processes.open();
    proc.add(1);
    proc.add(2);
    deliver(execOf(1));
    await time.tickAsync(50);
    deliver(execOf(2));
    await time.tickAsync(50);
    assert.equal(answers.length, 2);
    assert.ok(table.hasStarted(1, systemClock.monotonic()) && table.hasStarted(2, systemClock.monotonic()));
    answers[1]?.([{ argv: ['x', '2'] }]);
    await time.tickAsync(50);
    assert.deepEqual(pids(), []);
    assert.deepEqual(noted, [1, 2]);
    answers[0]?.([{ unread: 'hung' }]);
    await time.tickAsync(50);
    assert.deepEqual(
      seen.map(({ pid, argv, commandLineUnread }) => [pid, argv, commandLineUnread]),
      [
        [1, undefined, 'hung'],
        [2, ['x', '2'], undefined],
      ],
    );
    assert.equal(table.get(2)?.commandLine, 'x 2');
    assert.deepEqual(noted, [1, 2, 1, 0]);
  });

  it('continues after the sink has thrown once, and can be closed', async () => {
    sinon.stub(sink, 'accept').callThrough().onFirstCall().throws(new Error('a defect'));
    try {
      proc.add(1);
      proc.add(2);
      deliver(execOf(1));
      await time.tickAsync(50);
      deliver(execOf(2));
      await time.tickAsync(50);
      await processes.close();
      assert.deepEqual(pids(), [2]);
    } finally {
      sinon.restore();
    }
  });

  it('waits for the arguments of at most 1,024 starts @release', async () => {
    await processes.close();
    socket = new FakeSocket();
    let asked = 0;
    let answer: (lines: readonly CommandLine[]) => void = () => {};
    const blocked = new Promise<readonly CommandLine[]>((resolve) => {
      answer = resolve;
    });
    commandLines = {
      read: (all) => {
        asked += all.length;
        return blocked;
      },
    };
    processes = make();
    processes.open();
    for (let pid = 1; pid <= 1_200; pid += 1) {
      proc.add(pid);
      deliver(execOf(pid));
    }
    await time.tickAsync(10_000);
    assert.equal(asked, 1_024);
    answer([]);
    await time.tickAsync(50);
    assert.equal(seen.length, 1_200);
  });

  it('reports a start only once', async () => {
    for (const pid of [1, 2, 3]) proc.add(pid);
    deliver(execOf(1), execOf(2), execOf(1), execOf(3));
    await time.tickAsync(50);
    assert.deepEqual(pids(), [2, 1, 3]); // in the order of the reports
    assert.deepEqual(dropped, { 'starts unresolved': 1 });
  });

  it('skips datagrams that the kernel could not filter', async () => {
    proc.add(1);
    deliver(exitOf(1), Buffer.alloc(9));
    await time.tickAsync(50);
    assert.deepEqual(pids(), []);
    assert.deepEqual(dropped, {});
  });

  it('counts datagrams that the kernel dropped', async () => {
    socket.overruns += 2;
    await time.tickAsync(50);
    assert.deepEqual(dropped, { 'starts kernel': 2 });
    await time.tickAsync(400);
    assert.deepEqual(dropped, { 'starts kernel': 2 });
  });

  it('spends at most a quarter of a core on many starts', async () => {
    await processes.close();
    socket = new FakeSocket();
    const pauses: number[] = [];
    let now = 0;
    processes = make({
      ...systemClock,
      monotonic: () => {
        now += 8;
        return milliseconds(now);
      },
      sleep: async (wait, signal) => {
        pauses.push(wait);
        if (pauses.length === 6) await new Promise((resolve) => signal?.addEventListener('abort', resolve));
      },
    });
    processes.open();
    for (let pid = 1; pid <= 300; pid += 1) deliver(execOf(pid));
    await time.tickAsync(0);
    assert.ok(pauses.every((pause) => pause >= 24));
    assert.equal(dropped['starts unresolved'], 300);
  });

  it('polls less often without events', async () => {
    const reads = sinon.spy(socket, 'read');
    await time.tickAsync(10_000);
    assert.ok(reads.callCount <= 205, `${reads.callCount}`);
    reads.restore();
  });

  it('reads the rest and unsubscribes on close', async () => {
    for (let pid = 1; pid <= 200; pid += 1) {
      proc.add(pid);
      deliver(execOf(pid));
    }
    await processes.close();
    assert.equal(seen.length, 200);
    assert.ok(socket.isClosed);
    await time.tickAsync(0);
    assert.equal(time.countTimers(), 0);
    await processes.close();
  });

  it('closes while programs are started continuously', async () => {
    socket.endless = () => execOf(1);
    await processes.close();
    assert.ok(socket.isClosed);
  });

  it('reports the source as lost when reading fails', async () => {
    socket.broken = Object.assign(new Error('EBADF: bad file descriptor, read'), { code: 'EBADF' });
    await time.tickAsync(100);
    assert.deepEqual(
      lost.map(({ id }) => id),
      ['SOCKET_UNAVAILABLE'],
    );
    await processes.close();
  });
});
