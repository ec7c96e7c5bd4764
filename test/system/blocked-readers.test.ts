import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { CommandLines } from '../../src/agent/linux/processes/memory/command-lines.ts';
import { ProcessPolling } from '../../src/agent/linux/processes/process-polling.ts';
import { Reader } from '../../src/agent/reader/reader.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { milliseconds, minutes, seconds } from '../../src/core/base/duration.ts';
import { createLog } from '../../src/core/base/log.ts';
import type { ProcessStarted } from '../../src/core/contract/streams.ts';
import { require } from '../harness/require.ts';
import { until } from '../harness/until.ts';
import { type AgentProcess, CLONE_PROGRAM, PROGRAM, QUICK, TestBed } from '../integration/test-bed.ts';
import { nodeFlagsOf } from '../node-flags.ts';
import { ATTACKER, FuseHang, stateOf } from './fuse-hang.ts';
import { missingForAudit } from './missing-for-audit.ts';

const WITHOUT_AUDIT = ['setpriv', '--bounding-set=-audit_control,-audit_read'];

describe('A process that blocks every reader of its memory', function () {
  this.timeout(120_000);
  let hang: FuseHang | undefined;
  let bed: TestBed | undefined;

  before(function () {
    require(this, FuseHang.missing());
  });
  beforeEach(async () => {
    hang = await FuseHang.start(2);
  });
  afterEach(async () => {
    await hang?.end();
    hang = undefined;
    await bed?.close();
    bed = undefined;
  });

  it('blocks a plain read of its command line until SIGKILL', async () => {
    const cat = spawn('cat', [`/proc/${hang?.pids[0]}/cmdline`], { stdio: 'ignore' });
    await until('the reader to sleep', () => stateOf(cat.pid ?? 0) === 'D');
    await systemClock.sleep(milliseconds(500));
    assert.equal(stateOf(cat.pid ?? 0), 'D');
    cat.kill('SIGKILL');
    const [, signal] = await once(cat, 'exit');
    assert.equal(signal, 'SIGKILL');
  });

  for (const [source, through] of [
    ['auditUnicast', []],
    ['procConnector', WITHOUT_AUDIT],
  ] as const) {
    it(`does not block an agent that uses ${source} and reports the process`, async function () {
      if (source === 'auditUnicast') require(this, await missingForAudit());
      bed = await TestBed.open({ desired: { ...QUICK, snapshotFrequency: { value: 'PT2S' } } });
      const agent = bed.startAgent({ through });
      await agent.waitForStatus(
        ({ collectors, configuration }) =>
          collectors.ProcessCreate?.source === source && configuration.source === 'desired',
      );
      const watch = watchAnswers(agent);
      const more = await FuseHang.start(1); // seen at its start, unlike the others, which started earlier
      try {
        const marker = `vakt-blocked-${process.pid}-${Math.round(systemClock.monotonic())}`;
        const child = spawn('/bin/sleep', ['60'], { argv0: marker });
        const named = () => bed?.elements('ProcessCreate').filter(({ ProcessId }) => ProcessId === child.pid) ?? [];
        await bed.waitForEvents(() => named().length > 0);
        child.kill('SIGKILL');
        const reports = () => agent.log.filter(({ msg }) => msg.startsWith('A process holds its own memory lock'));
        const pids = hang?.pids ?? [];
        await agent.waitForLog(({ pid }) => pid === pids[1]);
        const [report] = reports();
        assert.deepEqual(
          [report?.level, report?.userId, report?.executable],
          ['warn', ATTACKER, hang?.program],
          JSON.stringify(report),
        );
        const messages = () => (bed?.elements('Diagnostic') ?? []).map(({ Message }) => String(Message));
        await bed.waitForEvents(() => messages().some((message) => message.includes(`process ${pids[0]}, `)));
        const seen = reports().map(({ pid }) => pid);
        assert.equal(new Set(seen).size, seen.length, 'a process is reported twice');
        assert.ok(hang?.isHanging && more.isHanging);
        await watch.end(); // rejects if the agent did not answer
        const children = childrenOf(agent.pid);
        agent.kill('SIGTERM');
        await systemClock.within(seconds(30), 'The end of the agent', agent.exited);
        assert.deepEqual(children.filter(isReader), [], 'a reader outlives the agent');
      } finally {
        await more.end();
      }
    });
  }

  it('does not block the /proc scanner, which still reports other processes', async () => {
    const seen: ProcessStarted[] = [];
    const sink = {
      accept: (_: unknown, records: readonly unknown[]) => void seen.push(...(records as ProcessStarted[])),
      drop() {},
    };
    const log = createLog({ level: 'silent' });
    const commandLines = new CommandLines({ reader: new Reader({ clock: systemClock, log }), proc: '/proc', log });
    const polling = new ProcessPolling({ sink, clock: systemClock, log, hostRoot: '/', commandLines });
    polling.open();
    const more = await FuseHang.start(1);
    const child = spawn('/bin/sleep', ['60'], { stdio: 'ignore' });
    try {
      const of = (pid: number | undefined) => seen.find((process) => process.pid === pid);
      await until('both reports', () => of(child.pid) !== undefined && of(more.pids[0]) !== undefined);
      assert.deepEqual(of(child.pid)?.argv, ['/bin/sleep', '60']);
      assert.deepEqual([of(more.pids[0])?.argv, of(more.pids[0])?.commandLineUnread], [undefined, 'hung']);
    } finally {
      child.kill('SIGKILL');
      commandLines.close();
      await polling.close();
      await more.end();
    }
  });

  it('does not block any command', async () => {
    const running = await TestBed.open();
    bed = running;
    const configuration = ['--config', join(running.directory, 'agent.json')];
    const commands = [
      [PROGRAM, 'check', ...configuration],
      [PROGRAM, 'collect', 'ListeningPorts', ...configuration],
      [PROGRAM, 'collect', 'OSBaseline', ...configuration],
      [PROGRAM, 'collect', 'SystemInformation', ...configuration],
      [CLONE_PROGRAM, 'demo'],
    ];
    const ends = commands.map(async ([program = '', ...args]) => {
      const run = [process.execPath, ...nodeFlagsOf(program), program, ...args];
      const { status, signal, stdout } = await ended([...WITHOUT_AUDIT, ...run]);
      assert.equal(signal, null, `${args[0]} ${args[1]} hangs`);
      if (args[0] !== 'check') assert.equal(status, 0, stdout); // check may find faults of this machine
      assert.notEqual(stdout, '', args[0]);
    });
    await Promise.all(ends);
  });
});

/** Polls the agent's control socket. A blocked agent never answers, and `end` rejects. */
function watchAnswers(agent: AgentProcess): { end(): Promise<void> } {
  const stop = new AbortController();
  const watching = (async () => {
    while (!stop.signal.aborted) {
      await systemClock.within(seconds(20), 'An answer of the agent', agent.status());
      await systemClock.sleep(milliseconds(100), stop.signal);
    }
  })();
  watching.catch(() => {});
  return {
    end() {
      stop.abort();
      return watching;
    },
  };
}

const childrenOf = (pid: number): number[] =>
  readdirSync(`/proc/${pid}/task`).flatMap((task) =>
    spawnSync('cat', [`/proc/${pid}/task/${task}/children`], { encoding: 'utf8' })
      .stdout.split(' ')
      .filter((text) => text.trim() !== '')
      .map(Number),
  );

/** Whether this is a running Node process. */
function isReader(pid: number): boolean {
  try {
    return readlinkSync(`/proc/${pid}/exe`) === process.execPath;
  } catch {
    return false;
  }
}

/** Runs a command until it exits. Stops the demo at its first event, and a command that hangs after a minute. */
async function ended([program = '', ...args]: readonly string[]) {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let isAsked = false; // a second signal would kill it immediately
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    if (isAsked || !stdout.includes('received a High message')) return;
    isAsked = true;
    child.kill('SIGINT');
  });
  child.stderr.resume();
  const exit = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
  await systemClock.within(minutes(1), program, exit).catch(() => child.kill('SIGKILL'));
  const [status, signal] = await exit;
  return { status, signal, stdout };
}
