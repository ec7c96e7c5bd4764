import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pino } from 'pino';
import { ProcFolder } from '../../src/agent/host/proc-folder.ts';
import { NETLINK_CONNECTOR, openNetlink } from '../../src/agent/linux/native/netlink/socket.ts';
import { assemble, keep } from '../../src/agent/linux/native/socket-filter.ts';
import { type FilterFor, ProcessConnector } from '../../src/agent/linux/processes/connector/connector.ts';
import {
  encodeRequest,
  execsOnly,
  exitsOnly,
  GROUPS,
  IGNORE,
  LISTEN,
  MESSAGE_TYPE,
  NONE,
} from '../../src/agent/linux/processes/connector/messages.ts';
import { ExitSource } from '../../src/agent/linux/processes/exits.ts';
import { ConnectorProcesses } from '../../src/agent/linux/processes/process-connector.ts';
import { ProcessScanner } from '../../src/agent/linux/processes/process-polling.ts';
import { ProcessTable } from '../../src/agent/linux/processes/process-table.ts';
import { type Clock, systemClock } from '../../src/core/base/clock.ts';
import { type Duration, milliseconds, seconds } from '../../src/core/base/duration.ts';
import type { ProcessEnded, ProcessStarted, StreamSink } from '../../src/core/contract/streams.ts';
import { readHere } from '../agent/linux/processes/memory/read-here.ts';
import { suiteFolder } from '../harness/folders.ts';
import { require } from '../harness/require.ts';
import { until } from '../harness/until.ts';
import { forks } from './forks.ts';

const SOURCE = new URL('../../../test/system/native/processes.c', import.meta.url).pathname;
const READER = new URL('exit-reader.js', import.meta.url).pathname;

/** Why this process cannot listen to the process connector; `undefined` if it can. */
function missingForConnector(): string | undefined {
  try {
    ProcessConnector.open(execsOnly).close();
    return undefined;
  } catch (error) {
    return `the process connector is unavailable: ${(error as Error).message}`;
  }
}

describe("the kernel's process connector", function () {
  this.timeout(180_000);
  let folder: string;
  /** Path of the compiled native/processes.c; `undefined` without a C compiler. */
  let program: string | undefined;
  let table: ProcessTable;
  let exits: ExitSource;
  let starts: ConnectorProcesses;
  let ended: ProcessEnded[];
  let seen: ProcessStarted[];
  let dropped: Record<string, number>;
  /** How far the clock of the exits is ahead, so that tests need not wait for its time limits. */
  let skew: Duration;
  const clock: Clock = { ...systemClock, monotonic: () => milliseconds(systemClock.monotonic() + skew) };
  const children: ChildProcess[] = [];
  const log = pino({ level: 'silent' });

  before(function () {
    require(this, missingForConnector());
    folder = suiteFolder();
    const compiler = ['cc', 'gcc', 'clang'].find((name) => spawnSync(name, ['--version']).status === 0);
    const path = join(folder, 'processes');
    if (compiler !== undefined && spawnSync(compiler, ['-O2', '-pthread', '-o', path, SOURCE]).status === 0)
      program = path;
  });

  /** @param unfiltered opens sockets without a filter, as on kernels that accept none */
  const open = async ({ unfiltered = false } = {}) => {
    skew = milliseconds(0);
    ended = [];
    seen = [];
    dropped = {};
    const commandLines = readHere('/proc');
    table = new ProcessTable({ proc: new ProcFolder('/proc'), clock: systemClock, commandLines });
    const sink = {
      accept(stream: string, records: readonly never[]) {
        if (stream === 'exits') ended.push(...records);
        else {
          seen.push(...records);
        }
      },
      drop(stream: string, reason: string, count: number) {
        dropped[`${stream} ${reason}`] = (dropped[`${stream} ${reason}`] ?? 0) + count;
      },
    } as StreamSink;
    const connect = (filter: FilterFor) =>
      ProcessConnector.open(filter, (protocol, { filter: _, ...options } = {}) => openNetlink(protocol, options));
    const more = { log, hostRoot: '/', commandLines, ...(unfiltered ? { connect } : {}) };
    const parts = { table, sink, ...more };
    exits = new ExitSource({ ...parts, clock });
    starts = new ConnectorProcesses({ ...parts, clock: systemClock });
    starts.open();
    await exits.open();
    await table.load();
  };

  afterEach(async () => {
    await starts?.close();
    await exits?.close();
    for (const child of children.splice(0)) child.kill('SIGKILL');
  });

  const run = (command: string, args: readonly string[] = []) => {
    const child = spawn(command, args, { stdio: ['pipe', 'ignore', 'inherit'] });
    children.push(child);
    assert.ok(child.pid);
    return { pid: child.pid, stdin: child.stdin };
  };
  /** Starts a program that waits for a line, and resolves once its start was reported, so that later events cannot overtake it. */
  const runKnown = async (command: string, args: readonly string[]) => {
    const { pid, stdin } = run(command, args);
    // Under load, the kernel may drop the start; it is found when /proc is read again, after half a minute.
    await until('the start', () => table.get(pid)?.executable !== undefined, { limit: seconds(45) });
    return { pid, stdin };
  };
  const endOf = async (pid: number): Promise<ProcessEnded> => {
    const find = () => ended.find((process) => process.pid === pid);
    await until(`the end of ${pid}`, () => find() !== undefined);
    return find() as ProcessEnded;
  };
  /** Resolves once all earlier exits were reported: exits are reported in order, so the exit of a new process is the last. */
  const untilExitsReported = async () => {
    const { pid, stdin } = await runKnown('/bin/sh', ['-c', 'read line']);
    stdin.end('\n');
    await endOf(pid);
  };
  const compiled = (context: Mocha.Context): string => {
    require(context, program === undefined ? 'there is no C compiler to build native/processes.c with' : undefined);
    return program ?? '';
  };

  for (const [script, exitStatus, signal] of [
    ['exit 0', 0, undefined],
    ['exit 7', 7, undefined],
    ['exit 255', 255, undefined],
    ['exit 137', 137, undefined],
    ['kill -KILL $$', 137, 'SIGKILL'],
    ['kill -TERM $$', 143, 'SIGTERM'],
    ['ulimit -c 0; kill -SEGV $$', 139, 'SIGSEGV'],
    ['kill -40 $$', 168, 'SIGRTMIN+6'],
  ] as const) {
    it(`reports exit status and signal of: ${script}`, async () => {
      await open();
      const { pid, stdin } = await runKnown('/bin/sh', ['-c', `read line; ${script}`]);
      const before = systemClock.now().getTime();
      stdin.end('\n');
      const { time, executable, ...rest } = await endOf(pid);
      assert.deepEqual({ exitStatus: rest.exitStatus, signal: rest.signal }, { exitStatus, signal });
      assert.match(executable ?? '', /\/(dash|bash|busybox|sh)$/);
      assert.ok(
        time.getTime() >= before - 2 && time.getTime() <= systemClock.now().getTime(),
        `${time.getTime() - before}`,
      );
    });
  }

  it('reports the signal when another process kills a process', async () => {
    await open();
    const { pid } = await runKnown('/bin/sleep', ['60']);
    process.kill(pid, 'SIGKILL');
    const { exitStatus, signal } = await endOf(pid);
    assert.deepEqual([exitStatus, signal], [137, 'SIGKILL']);
  });

  it('reports the exit of a process that is older than the agent', async () => {
    const { pid } = run('/bin/sleep', ['60']);
    await until('the start', () => readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('60'));
    await open();
    await until('its arguments', () => table.get(pid)?.commandLine !== undefined);
    assert.equal(table.get(pid)?.commandLine, '/bin/sleep 60');
    process.kill(pid, 'SIGINT');
    const { executable, signal } = await endOf(pid);
    assert.match(executable ?? '', /\/(sleep|coreutils|busybox)$/);
    assert.equal(signal, 'SIGINT');
  });

  it('reports a program whose first thread exits immediately, and the /proc scanner finds its arguments', async function () {
    const path = compiled(this);
    await open();
    const scanner = new ProcessScanner(new ProcFolder('/proc'), systemClock);
    scanner.scan();
    const { pid, stdin } = run(path, ['early', '5']);
    stdin.write('\n');
    await until('the end of its first thread', () =>
      /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'latin1')),
    );
    const found = scanner.scan().find((process) => process.pid === pid);
    assert.ok(found !== undefined && found.executable === path, JSON.stringify(found));
    const [text] = await readHere('/proc').read([{ ...found, executable: path }]);
    assert.deepEqual(text, { argv: [path, 'early', '5'] });
    await until('its start', () => seen.some((process) => process.pid === pid && process.executable === path));
  });

  it('finds a program in /proc whose first thread has exited and whose second is a zombie', async function () {
    const path = compiled(this);
    const scanner = new ProcessScanner(new ProcFolder('/proc'), systemClock);
    scanner.scan();
    // The shell is its tracer and never waits for the thread. Killing the shell also kills the program.
    const shell = run('/bin/sh', ['-c', 'exec 3<&0; "$0" traced 5 <&3 & exec sleep 60', path]);
    shell.stdin.write('\n');
    const childOfShell = () => readFileSync(`/proc/${shell.pid}/task/${shell.pid}/children`, 'latin1').trim();
    await until('the end of two threads', () => {
      const ended = (folder: string) => /^State:\s+Z/m.test(readFileSync(`${folder}/status`, 'latin1'));
      const tasks = childOfShell() === '' ? [] : readdirSync(`/proc/${childOfShell()}/task`);
      return tasks.length === 3 && tasks.filter((task) => ended(`/proc/${childOfShell()}/task/${task}`)).length === 2;
    });
    const found = scanner.scan().find((process) => process.pid === Number(childOfShell()));
    assert.ok(found !== undefined && found.executable === path, JSON.stringify(found));
    const [text] = await readHere('/proc').read([{ ...found, executable: path }]);
    assert.deepEqual(text, { argv: [path, 'traced', '5'] });
  });

  it('does not report the exit of a forked process that executed no program', async function () {
    const path = compiled(this);
    await open();
    const { pid, stdin } = await runKnown(path, ['fork', '213']);
    stdin.end('\n');
    await endOf(pid);
    skew = seconds(9); // the time that an exit may wait for reports of lost starts
    await untilExitsReported();
    assert.equal(ended.filter(({ exitStatus }) => exitStatus === 213).length, 0);
  });

  for (const unfiltered of [false, true]) {
    describe(unfiltered ? 'without a socket filter' : 'with a socket filter', () => {
      it('does not report the exit of a thread', async function () {
        const path = compiled(this);
        await open({ unfiltered });
        const { pid, stdin } = await runKnown(path, ['threads', '2000']);
        stdin.end('\n');
        assert.equal((await endOf(pid)).exitStatus, 0);
        await untilExitsReported();
        assert.equal(ended.filter((process) => process.pid === pid).length, 1);
        assert.equal(ended.filter(({ executable }) => executable === path).length, 1);
      });

      it('reports the exit of a process when its last thread exits, not its first', async function () {
        const path = compiled(this);
        await open({ unfiltered });
        const { pid, stdin } = await runKnown(path, ['early', '5']);
        stdin.write('\n');
        await until('the end of its first thread', () =>
          /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'latin1')),
        );
        await untilExitsReported();
        assert.equal(ended.filter((process) => process.pid === pid).length, 0);
        const before = systemClock.now().getTime();
        stdin.end('\n');
        const { time, exitStatus, executable } = await endOf(pid);
        assert.deepEqual([exitStatus, executable], [5, path]);
        assert.ok(time.getTime() >= before - 2, `${time.getTime() - before} ms`);
      });

      it('reports one exit of a process in which a thread executes another program', async function () {
        const path = compiled(this);
        await open({ unfiltered });
        const { pid, stdin } = await runKnown(path, ['exec']);
        stdin.write('\n');
        await until('cat', () => /\/(cat|coreutils|busybox)$/.test(table.get(pid)?.executable ?? ''));
        await untilExitsReported();
        assert.equal(ended.filter((process) => process.pid === pid).length, 0);
        stdin.end();
        const { exitStatus, executable } = await endOf(pid);
        assert.equal(exitStatus, 0);
        assert.match(executable ?? '', /\/(cat|coreutils|busybox)$/);
        await untilExitsReported();
        assert.equal(ended.filter((process) => process.pid === pid).length, 1);
      });
    });
  }

  it('reports each of 2,000 short processes once, with its exit status', async () => {
    await open();
    const script =
      'i=0; while [ $i -lt 2000 ]; do sh -c \'echo $$ "$1"; exit "$1"\' sh $((i % 200)); i=$((i + 1)); done';
    const child = spawn('/bin/sh', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    children.push(child);
    const expected = new Map<number, number>();
    for await (const line of createInterface(child.stdout)) {
      const [pid, status] = line.split(' ').map(Number);
      expected.set(pid ?? 0, status ?? -1);
    }
    assert.equal(expected.size, 2_000);
    const reported = () => ended.filter(({ pid }) => expected.has(pid));
    await until('2,000 ends', () => reported().length >= 2_000);
    await untilExitsReported();
    const wrong = reported().filter(
      ({ pid, exitStatus, signal }) => exitStatus !== expected.get(pid) || signal !== undefined,
    );
    assert.deepEqual(wrong, []);
    assert.equal(reported().length, 2_000);
    assert.equal(new Set(reported().map(({ pid }) => pid)).size, 2_000);
    assert.equal(dropped['exits kernel'], undefined);
    const started = seen.length + (dropped['starts unresolved'] ?? 0);
    assert.ok(started >= 2_000, `${started} starts`);
    process.stderr.write(`    details of ${seen.length} of ${started} starts\n`);
  });

  describe('the kernel', () => {
    const listen = (filter: FilterFor, receiveBufferBytes?: number) =>
      ProcessConnector.open(filter, (protocol, options) =>
        openNetlink(protocol, { ...options, ...(receiveBufferBytes === undefined ? {} : { receiveBufferBytes }) }),
      );
    const ofExits: FilterFor = (answer) => exitsOnly([], answer);
    const countDatagrams = (connector: ProcessConnector) => {
      let count = 0;
      while (connector.read(() => {})) count += 1;
      return count;
    };

    it('sends no events that the socket filter rejects', function () {
      const path = compiled(this);
      const [filtered, unfiltered] = [listen(ofExits), listen(() => assemble([keep]))];
      assert.equal(spawnSync(path, ['threads', '2000'], { input: '\n' }).status, 0);
      const [few, many] = [countDatagrams(filtered), countDatagrams(unfiltered)];
      filtered.close();
      unfiltered.close();
      assert.ok(few >= 1 && many - few >= 4_000, `${few} of ${many}`); // each thread begins and ends
    });

    it('does not receive answers to other sockets, which any user can cause in any number', () => {
      const connector = listen(ofExits);
      const another = openNetlink(NETLINK_CONNECTOR, { groups: GROUPS });
      for (let count = 0; count < 1_000; count += 1) another.send(MESSAGE_TYPE, 0, encodeRequest(LISTEN, count));
      for (let count = 0; count < 1_000; count += 1) another.send(MESSAGE_TYPE, 0, encodeRequest(IGNORE, count));
      another.close();
      const seen: number[] = [];
      while (connector.read(({ what }) => seen.push(what)));
      connector.close();
      assert.deepEqual(
        seen.filter((what) => what === NONE),
        [],
      );
    });

    it('counts datagrams that did not fit into the receive buffer', () => {
      const connector = listen(ofExits, 4_096);
      spawnSync('/bin/sh', ['-c', 'i=0; while [ $i -lt 500 ]; do (exit 3); i=$((i + 1)); done']);
      const [read, dropped] = [countDatagrams(connector), connector.takeDropped()];
      connector.close();
      assert.ok(dropped > 400 && read + dropped >= 501, `${read} read, ${dropped} dropped`); // other processes end, too
    });
  });

  it('closes all sockets', async () => {
    await open();
    await starts.close();
    await exits.close();
    const openBefore = readdirSync('/proc/self/fd').length;
    await open();
    await starts.close();
    await exits.close();
    assert.equal(readdirSync('/proc/self/fd').length, openBefore);
  });

  describe('in a separate process', () => {
    const readers: ChildProcess[] = [];
    afterEach(() => {
      for (const reader of readers.splice(0)) reader.kill('SIGKILL');
    });

    interface Line {
      readonly [name: string]: unknown;
    }
    const reader = async (args: readonly string[], as: readonly string[] = []) => {
      const [command = '', ...rest] = [...as, process.execPath, READER, ...args];
      const child = spawn(command, rest, { stdio: ['ignore', 'pipe', 'inherit'] });
      readers.push(child);
      const lines: Line[] = [];
      createInterface(child.stdout).on('line', (line) => lines.push(JSON.parse(line)));
      await until('the reader', () => lines.length > 0);
      return { child, lines };
    };

    it('counts the exits that were lost while the process was stopped', async () => {
      const sleepers = Array.from({ length: 300 }, () => spawn('/bin/sleep', ['600'], { stdio: 'ignore' }));
      children.push(...sleepers);
      const hasStarted = ({ pid }: ChildProcess) => readFileSync(`/proc/${pid}/comm`, 'utf8') !== 'node\n';
      await until('all to have started', () => sleepers.every(hasStarted));
      const { child, lines } = await reader(['4096']);
      assert.equal(lines[0]?.open, true);
      const forksBefore = forks();
      child.kill('SIGSTOP');
      const all = Promise.all(sleepers.map((sleeper) => once(sleeper, 'exit')));
      for (const sleeper of sleepers) sleeper.kill('SIGKILL');
      await all;
      child.kill('SIGCONT');
      const pids = new Set(sleepers.map(({ pid }) => pid));
      const reported = () => lines.filter(({ pid }) => pids.has(pid as number)).length;
      const counted = () =>
        lines.reduce((sum, { reason, count }) => (reason === 'kernel' ? sum + (count as number) : sum), 0);
      await until('the loss to be counted', () => counted() > 0);
      assert.ok(counted() > 200, `${counted()} counted`);
      // Other processes may have exited, too. Each process started during the test may count three times.
      const most = 320 + 3 * (forks() - forksBefore);
      const sum = reported() + counted();
      assert.ok(sum >= 300 && sum <= most, `${reported()} reported, ${counted()} counted`);
      child.kill('SIGTERM');
      await until('its end', () => lines.at(-1)?.ended === true);
    });

    it('works for an ordinary user since Linux 6.6, or reports the missing capability', async function () {
      require(this, process.getuid?.() === 0 ? undefined : 'only root can start a process as another user');
      const { pid } = run('/bin/sleep', ['60']);
      await until('the start', () => readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('60'));
      const { lines } = await reader([], ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']);
      const [first] = lines;
      if (first?.open !== true) {
        assert.equal(first?.id, 'SOCKET_UNAVAILABLE');
        assert.match(String(first?.remedy), /CAP_NET_ADMIN/);
        return;
      }
      process.kill(pid, 'SIGKILL');
      const exit = () => lines.find((line) => line.pid === pid);
      await until('the end', () => exit() !== undefined);
      assert.equal(exit()?.exitStatus, 137);
      assert.equal(exit()?.executable, undefined); // unreadable for other users
    });

    for (const [namespace, as, remedy] of [
      ['network', ['unshare', '--net'], /--net=host/],
      ['pid', ['unshare', '--pid', '--fork'], /--pid=host/],
      ['user', ['unshare', '--user'], /--pid=host|CAP_NET_ADMIN/],
    ] as const) {
      it(`reports a remedy when it cannot listen in a ${namespace} namespace`, async function () {
        require(this, spawnSync(as[0], [...as.slice(1), 'true']).status === 0
          ? undefined
          : `${as.join(' ')} fails here`);
        const { lines } = await reader([], as);
        assert.equal(lines[0]?.id, 'SOCKET_UNAVAILABLE');
        assert.match(String(lines[0]?.remedy), remedy);
      });
    }
  });
});
