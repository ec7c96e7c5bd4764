import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { pino } from 'pino';
import sinon from 'sinon';
import { ProcFolder, parseCommandLine, parseStat, parseUserId } from '../../../../src/agent/host/proc-folder.ts';
import type { CommandLineSource } from '../../../../src/agent/linux/processes/memory/command-lines.ts';
import { ProcessPolling, ProcessScanner } from '../../../../src/agent/linux/processes/process-polling.ts';
import { systemClock } from '../../../../src/core/base/clock.ts';
import type { ProcessStarted } from '../../../../src/core/contract/streams.ts';
import { fuzzRuns } from '../../../fuzz.ts';
import { temporaryFolder } from '../../../harness/folders.ts';
import { until } from '../../../harness/until.ts';
import { FakeProc } from './fake-proc.ts';
import { readHere } from './memory/read-here.ts';

/** As Linux 6.18 writes it. */
const stat = (name: string, { state = 'S', parent = 1, flags = 4_194_560, threads = 1, start = 34_567 } = {}) =>
  `4711 (${name}) ${state} ${parent} 4711 4711 0 -1 ${flags} 102 0 0 0 0 0 0 0 20 0 ${threads} 0 ${start} 2703360 190 18446744073709551615 1 1 0\n`;

describe('ProcFolder', () => {
  for (const name of ['sleep', 'a b', '(a) S 1 (b', ')', '', ') S 99 1 1', 'line\nend']) {
    it(`returns parent and start of a process named ${JSON.stringify(name)}`, () => {
      assert.deepEqual(parseStat(stat(name)), {
        parentPid: 1,
        startTicks: 34_567,
        isKernelThread: false,
        isLeaderDead: false,
        isDead: false,
        threads: 1,
      });
    });
  }

  it('detects kernel threads and zombies, and counts threads', () => {
    assert.equal(parseStat(stat('kworker/0:1', { flags: 69_238_880 }))?.isKernelThread, true);
    assert.equal(parseStat(stat('sh', { state: 'Z' }))?.isDead, true);
    const { isLeaderDead, isDead, threads } = parseStat(stat('sh', { state: 'Z', threads: 4_000 })) ?? {};
    assert.deepEqual([isLeaderDead, isDead, threads], [true, false, 4_000]);
    assert.equal(parseStat('nonsense'), undefined);
    assert.equal(parseStat(''), undefined);
  });

  it('returns arguments', () => {
    assert.deepEqual(parseCommandLine('ls\0-l\0\0a b\0'), ['ls', '-l', '', 'a b']);
    assert.deepEqual(parseCommandLine('overwritten title'), ['overwritten title']);
    assert.deepEqual(parseCommandLine('\0'), ['']);
    assert.deepEqual(parseCommandLine(''), []);
  });

  it('returns the effective user', () => {
    assert.equal(parseUserId('Name:\tx\nUid:\t0\t1000\t0\t0\nGid:\t1\t2\t3\t4\n'), 1_000);
    assert.equal(parseUserId('Name:\tUid: 1 2 3 4\n'), undefined);
    assert.equal(parseUserId(''), undefined);
  });

  it('never makes a parser throw', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        parseStat(text);
        parseStat(stat(text));
        parseCommandLine(text);
        parseUserId(text);
      }),
      { numRuns: fuzzRuns(100_000) },
    );
  });
});

describe('ProcessScanner', () => {
  let root: string;
  let scanner: ProcessScanner;

  beforeEach(() => {
    root = temporaryFolder();
    writeFileSync(join(root, 'uptime'), '1000.00 1.00\n');
    scanner = new ProcessScanner(new ProcFolder(root), { ...systemClock, now: () => new Date(5_000_000) });
  });

  const add = (pid: number, options: Parameters<typeof stat>[1] = {}) => {
    const folder = join(root, String(pid));
    mkdirSync(folder);
    writeFileSync(join(folder, 'stat'), stat('x', options));
    writeFileSync(join(folder, 'status'), 'Name:\tx\nUid:\t0\t1000\t0\t0\n');
    writeFileSync(join(folder, 'cmdline'), `/bin/x\0${pid}\0`);
    symlinkSync('/bin/x (deleted)', join(folder, 'exe'));
  };
  /** Keeps the folder's inode in use: /proc doesn't use one again so soon, and other file systems may. */
  const end = (pid: number) => renameSync(join(root, String(pid)), join(root, `ended-${pid}`));
  const pids = () => scanner.scan().map(({ pid }) => pid);

  it('reports processes that are new since the first scan, once', () => {
    add(1);
    assert.deepEqual(pids(), []);
    add(2, { parent: 1, start: 50_000 });
    assert.deepEqual(scanner.scan(), [
      {
        time: new Date(5_000_000 - 1_000_000 + 500_000),
        pid: 2,
        parentPid: 1,
        userId: 1_000,
        startTicks: 50_000,
        executable: '/bin/x',
      },
    ]);
    assert.deepEqual(pids(), []);
  });

  it('reports a new process with a reused pid', () => {
    add(2);
    scanner.scan();
    end(2);
    add(2, { start: 60_000 });
    assert.deepEqual(pids(), [2]);
  });

  it('recognises a process whose directory was created again', () => {
    add(2);
    scanner.scan();
    end(2);
    add(2);
    assert.deepEqual(pids(), []);
  });

  it('skips kernel threads, zombies and processes that exit during the scan', () => {
    scanner.scan();
    add(2, { flags: 0x0020_0000 });
    add(3, { state: 'Z' });
    add(4);
    rmSync(join(root, '4', 'status'));
    add(5);
    rmSync(join(root, '5', 'stat'));
    mkdirSync(join(root, 'self'));
    assert.deepEqual(pids(), []);
  });

  it('reports a process whose image is unreadable', () => {
    scanner.scan();
    add(2);
    rmSync(join(root, '2', 'exe'));
    assert.equal(scanner.scan()[0]?.executable, undefined);
  });
});

describe('ProcessPolling', () => {
  const seen: ProcessStarted[] = [];
  const sink = {
    accept: (_: unknown, records: readonly unknown[]) => seen.push(...(records as ProcessStarted[])),
    drop() {},
  };
  const log = pino({ level: 'silent' });
  const commandLines = readHere('/proc');
  let child: ChildProcess | undefined;
  let clock: sinon.SinonFakeTimers | undefined;

  afterEach(() => {
    clock?.restore();
    clock = undefined;
    child?.kill('SIGKILL');
    child = undefined;
  });

  it('finds a process of this machine', async () => {
    const polling = new ProcessPolling({ sink, clock: systemClock, log, hostRoot: '/', commandLines });
    polling.open();
    try {
      const before = Date.now();
      child = spawn('/bin/sleep', ['60.25']);
      const { pid } = child;
      await until('the process', () => seen.some((process) => process.pid === pid));
      const process_ = seen.find((process) => process.pid === pid);
      assert.deepEqual(process_?.argv, ['/bin/sleep', '60.25']);
      assert.equal(process_?.parentPid, process.pid);
      assert.equal(process_?.userId, process.geteuid?.());
      assert.match(process_?.executable ?? '', /(sleep|coreutils|busybox)$/);
      const time = Number(process_?.time);
      assert.ok(time > before - 15_000 && time < Date.now() + 15_000, `${time - before} ms after its start`);
    } finally {
      await polling.close();
    }
    child.kill('SIGKILL');
    await once(child, 'exit');
  });

  it('stops during a pause, and leaves no work running', async () => {
    clock = sinon.useFakeTimers();
    const polling = new ProcessPolling({ sink, clock: systemClock, log, hostRoot: '/', commandLines });
    polling.open();
    polling.open();
    await clock.tickAsync(2_500);
    await polling.close();
    await polling.close();
    assert.equal(clock.countTimers(), 0);
  });

  it('holds arguments of at most 16 processes, and scans on while they are read', async () => {
    clock = sinon.useFakeTimers();
    const proc = new FakeProc();
    const asked: number[] = [];
    let answer: () => void = () => {};
    let isSlow = true;
    const slow: CommandLineSource = {
      read: async (processes) => {
        asked.push(processes.length);
        if (isSlow) {
          await new Promise<void>((resolve) => {
            answer = resolve;
          });
        }
        return processes.map(() => ({ argv: ['a'.repeat(120_000)] }));
      },
    };
    const reported: number[] = [];
    const counting = {
      accept: (_: unknown, records: readonly unknown[]) => void reported.push(records.length),
      drop() {},
    };
    const parts = { sink: counting, clock: systemClock, log, hostRoot: proc.hostRoot, commandLines: slow };
    const polling = new ProcessPolling(parts);
    polling.open();
    const next = async () => {
      answer();
      for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
    };
    try {
      for (let pid = 1; pid <= 40; pid += 1) proc.add(pid);
      await clock.tickAsync(60_000);
      assert.deepEqual([asked, reported], [[16], []]);
      proc.add(41);
      await clock.tickAsync(60_000);
      for (let batch = 0; batch < 4; batch += 1) await next();
      assert.deepEqual(
        [asked, reported],
        [
          [16, 16, 8, 1],
          [16, 16, 8, 1],
        ],
      );
    } finally {
      isSlow = false;
      answer();
      await polling.close();
      proc.close();
    }
  });

  it('continues after the sink has thrown once, and can be closed', async () => {
    clock = sinon.useFakeTimers();
    const proc = new FakeProc();
    const reported: number[] = [];
    let drains = 0;
    const throwing = {
      accept: (_: unknown, records: readonly unknown[]) => {
        reported.push(records.length);
        if (reported.length === 1) throw new Error('a defect');
      },
      drop() {},
    };
    const polling = new ProcessPolling({
      sink: throwing,
      clock: systemClock,
      log,
      hostRoot: proc.hostRoot,
      commandLines: readHere(proc.path),
      drained: () => {
        drains += 1;
      },
    });
    polling.open();
    try {
      for (let pid = 1; pid <= 20; pid += 1) proc.add(pid);
      await clock.tickAsync(60_000);
      assert.deepEqual([reported, drains], [[16, 4], 1]);
      proc.add(21);
      await clock.tickAsync(60_000);
      await polling.close();
      assert.deepEqual([reported, drains], [[16, 4, 1], 2]);
    } finally {
      await polling.close();
      proc.close();
    }
  });

  it('polls less often if a scan takes long', async () => {
    clock = sinon.useFakeTimers();
    const pauses: number[] = [];
    let time = 0;
    const slow = {
      ...systemClock,
      monotonic: () => {
        time += 30;
        return time as never;
      },
      sleep: async (wait: number, signal?: AbortSignal) => {
        pauses.push(wait);
        if (pauses.length === 2) await new Promise((resolve) => signal?.addEventListener('abort', resolve));
      },
    };
    const proc = new FakeProc(); // no program starts in it, which would take time as well
    const polling = new ProcessPolling({ sink, clock: slow as never, log, hostRoot: proc.hostRoot, commandLines });
    polling.open();
    try {
      await clock.tickAsync(0);
      await polling.close();
      assert.deepEqual(pauses, [3_000, 3_000]);
    } finally {
      proc.close();
    }
  });
});
