import { systemClock } from '../../src/core/base/clock.ts';
import { type Duration, milliseconds, seconds } from '../../src/core/base/duration.ts';
import { type AgentProcess, TestBed } from '../integration/test-bed.ts';
import { NODE_FLAGS } from '../node-flags.ts';
import { setAuditRules } from './audit-rules.ts';
import { hasAuditd, withAuditd } from './auditd-peer.ts';
import { cpuMs, median, Peer, range, report, scriptOf } from './figures.ts';
import { auditIsMissing } from './slot.ts';
import { COMMANDS, Native, type Started } from './starts.ts';

/*
 * Cost of program starts for the whole agent, connected and aggregating, and the number of starts it misses. The peers read the
 * same records under the same load without using them. They take turns, since a kernel has only one audit daemon.
 */

const BUDGET_MS = 30;
const ROUNDS = 3;
/** Each load begins with a new reader, after `before` starts that aren't measured. */
const LOADS = {
  '200/s for 10 s': { count: 2_000, perSecond: 200, before: 0 },
  '2000/s for 10 s': { count: 20_000, perSecond: 2_000, before: 0 },
  '2000/s for 10 s, after 20,000': { count: 20_000, perSecond: 2_000, before: 20_000 },
  'burst of 20,000': { count: 20_000, perSecond: 0, before: 0 },
  'burst of 20,000, after 20,000': { count: 20_000, perSecond: 0, before: 20_000 },
  'burst of 100,000': { count: 100_000, perSecond: 0, before: 0 },
} as const;
type Load = keyof typeof LOADS;
const STEADY: readonly Load[] = ['200/s for 10 s', '2000/s for 10 s', '2000/s for 10 s, after 20,000'];
/** Number of rounds. Compiling takes V8 about 200 ms of CPU in the first one, once per run of an agent. */
const BURSTS: readonly Load[] = ['burst of 20,000', 'burst of 20,000, after 20,000'];
/** Long enough that no window ends during a load. */
const LONG_BURST: Load = 'burst of 100,000';

const DESIRED = {
  aggregationEnabledProcessCreate: { value: true },
  aggregationIntervalProcessCreate: { value: 'PT1H' },
  lowPriorityMessageFrequency: { value: 'PT1S' },
};
/** Closes the window, so that it is sent. */
const FLUSH = { aggregationIntervalProcessCreate: { value: 'PT2H' } };

/** Time after the load: the longest pause of a reader, and the time to read the remaining records. */
const SETTLE = seconds(1.5);

interface Run {
  readonly load: Load;
  readonly started: Started;
  readonly cpuPer1000: number;
  /** All starts that the reader saw. */
  readonly seen: number;
}

interface AgentRun extends Run {
  readonly hits: number;
  readonly lost: number;
  /** CPU time to send the aggregated events. */
  readonly sendingMs: number;
}

type Contestant = (loads: readonly Load[]) => Promise<readonly Run[]>;

const native = new Native();

async function warmUp(load: Load): Promise<void> {
  const { before } = LOADS[load];
  if (before === 0) return;
  await native.start(before, 0);
  await systemClock.sleep(SETTLE);
}

async function measure(load: Load, pid: number, seen: (started: Started) => Promise<number>): Promise<Run> {
  const { count, perSecond } = LOADS[load];
  const before = cpuMs(pid);
  const started = await native.start(count, perSecond);
  await systemClock.sleep(SETTLE);
  const cpuPer1000 = ((cpuMs(pid) - before) / started.count) * 1_000;
  return { load, started, cpuPer1000, seen: await seen(started) };
}

async function runAgent(loads: readonly Load[], detections = { enabled: true }): Promise<AgentRun[]> {
  const runs: AgentRun[] = [];
  for (const load of loads) {
    const bed = await TestBed.open({ desired: DESIRED });
    bed.writeConfiguration({ detections });
    try {
      const agent = bed.startAgent();
      await agent.waitForStatus(
        ({ collectors, hub, configuration }) =>
          collectors.ProcessCreate?.source === 'auditUnicast' &&
          hub.state === 'connected' &&
          configuration.source === 'desired',
      );
      await systemClock.sleep(seconds(3)); // the first messages and reports
      await warmUp(load);
      runs.push(await runConnected(load, agent, bed));
    } finally {
      await bed.close();
    }
  }
  return runs;
}

async function runConnected(load: Load, agent: AgentProcess, bed: TestBed): Promise<AgentRun> {
  const read = async () => {
    const { events, delivery } = await agent.status();
    return { collected: events.ProcessCreate?.collected ?? 0, lost: delivery.dropped.kernel ?? 0 };
  };
  const before = await read();
  let lost = 0;
  const run = await measure(load, agent.pid, async ({ count }) => {
    const limit = systemClock.monotonic() + seconds(20);
    for (;;) {
      const now = await read();
      lost = now.lost - before.lost;
      const collected = now.collected - before.collected;
      if (collected + lost >= count || systemClock.monotonic() > limit) return collected;
      await systemClock.sleep(milliseconds(500));
    }
  });
  const sendingFrom = cpuMs(agent.pid);
  bed.desire(FLUSH);
  const hits = () => hitsOf(bed, run.started.marker);
  await quiet(() => bed.hub.messages.length, seconds(2.5));
  return { ...run, hits: hits(), lost, sendingMs: cpuMs(agent.pid) - sendingFrom };
}

const hitsOf = (bed: TestBed, marker: string) =>
  bed.hits('ProcessCreate', ({ CommandLine }) => String(CommandLine).includes(marker));

/** Resolves once `count` has not changed for this time. */
async function quiet(count: () => number, length: Duration): Promise<void> {
  for (let before = -1; before !== count(); ) {
    before = count();
    await systemClock.sleep(length);
  }
}

const runReader =
  (command: string, args: readonly string[]): Contestant =>
  async (loads) => {
    const runs: Run[] = [];
    for (const load of loads) {
      const reader = await Peer.start(command, args);
      let undo = async () => {};
      let output = '';
      let run: Run | undefined;
      try {
        undo = await setAuditRules();
        await warmUp(load);
        run = await measure(load, reader.pid, async () => 0);
      } finally {
        await undo();
        output = await reader.end();
      }
      runs.push({ ...run, seen: Number(output.split(' ')[1]) - LOADS[load].before });
    }
    return runs;
  };

const runAuditd: Contestant = async (loads) => {
  const runs: Run[] = [];
  for (const load of loads) {
    await withAuditd(async (auditd) => {
      await warmUp(load);
      const recorded = () => auditd.texts.reduce((sum, text) => sum + text.split('type=EXECVE ').length - 1, 0);
      const before = recorded();
      runs.push(await measure(load, auditd.pid, async () => recorded() - before));
    });
  }
  return runs;
};

async function compare(): Promise<void> {
  const cReader = native.build('reader');
  const peers: [string, Contestant][] = [
    ['agent without detections', (loads) => runAgent(loads, { enabled: false })],
    ['bare Node, reads only', runReader(process.execPath, [...NODE_FLAGS, scriptOf('audit-reader')])],
    ...(cReader === undefined ? [] : [['C, reads only', runReader(cReader, [])] satisfies [string, Contestant]]),
    ...(hasAuditd() ? [['auditd', runAuditd] satisfies [string, Contestant]] : []),
  ];
  const agentRuns: AgentRun[] = [];
  const peerRuns = new Map<string, Run[]>(peers.map(([name]) => [name, []]));
  for (const loads of [STEADY, ...Array<readonly Load[]>(ROUNDS).fill(BURSTS), [LONG_BURST]]) {
    agentRuns.push(...(await runAgent(loads)));
    for (const [name, contest] of peers) peerRuns.get(name)?.push(...(await contest(loads)));
  }

  const cost = (runs: readonly Run[], load: Load) =>
    runs.filter((run) => run.load === load).map(({ cpuPer1000 }) => cpuPer1000);
  const rows = Object.keys(LOADS).map((name) => {
    const load = name as Load;
    const agent = median(cost(agentRuns, load));
    const peerCosts = peers.map(([peer]) => {
      const ms = median(cost(peerRuns.get(peer) ?? [], load));
      return `${ms.toFixed(1)} (agent is ${(agent / ms).toFixed(1)} times)`;
    });
    return [name, agent.toFixed(1), `≤ ${BUDGET_MS}`, ...peerCosts];
  });
  report(
    'CPU ms per 1000 process starts, user and system; of the agent: per start and end',
    [['load', 'agent', 'budget', ...peers.map(([name]) => name)], ...rows],
    [
      `${native.load}; ${COMMANDS} distinct commands, aggregated, hub connected.`,
      ...BURSTS.map(
        (load) =>
          `${load}: the median of ${ROUNDS} rounds: agent ${range(cost(agentRuns, load), 1)}` +
          peers.map(([name]) => `; ${name} ${range(cost(peerRuns.get(name) ?? [], load), 1)}`).join(''),
      ),
      ...(cReader === undefined ? ['No C compiler here, so no C reader.'] : []),
    ],
  );
  report(
    'Loss of the agent (budget: 0, or counted exactly)',
    [
      [
        'load',
        'starts/s',
        'started',
        'hits at the hub',
        'counted lost',
        'unaccounted',
        'collected in all',
        'ms to send',
      ],
      ...agentRuns.map(({ load, started, hits, lost, seen, sendingMs }) => [
        load,
        (started.count / started.seconds).toFixed(0),
        String(started.count),
        String(hits),
        String(lost),
        String(started.count - hits - lost),
        String(seen),
        sendingMs.toFixed(0),
      ]),
    ],
    [
      'Unaccounted: started minus hits minus lost. "Collected in all" and "lost" include other programs of the machine: a negative',
      'number of unaccounted starts is the number of their lost starts.',
    ],
  );
  report('Starts that the peers saw, other programs among them', [
    ['load', 'reader', 'starts/s', 'started', 'seen'],
    ...[...peerRuns].flatMap(([name, runs]) =>
      runs.map(({ load, started, seen }) => [
        load,
        name,
        (started.count / started.seconds).toFixed(0),
        String(started.count),
        String(seen),
      ]),
    ),
  ]);
}

try {
  const missing = await auditIsMissing();
  if (missing === undefined) await compare();
  else console.log(`\nCPU and loss at process starts: not measured, since ${missing}.`);
} finally {
  native.remove();
}
