import { systemClock } from '../../src/core/base/clock.ts';
import { type Duration, milliseconds, seconds } from '../../src/core/base/duration.ts';
import { type AgentProcess, PROGRAM, TestBed } from '../integration/test-bed.ts';
import { hasAuditd, withAuditd } from './auditd-peer.ts';
import { fineCpuMs, memory, Peer, report, wakeUps } from './figures.ts';
import { auditIsMissing, sourceNote } from './slot.ts';
import { Native } from './starts.ts';

/*
 * Cost of the connected agent in its default configuration while it is idle, and while some programs start, as on most devices.
 * To measure the installed program for a longer time:
 * VAKT_PROGRAM=/usr/lib/vakt/main.js BENCH_SECONDS=600 npm run bench idle
 *
 * Auditd would change what the agent reads, so it runs after the agent, under the same loads.
 */

const BUDGET_PERCENT = 0.15;
const BUDGET_MIB = 64;
/** The agent releases memory a minute after its start, long after its first snapshots. */
const BEFORE = seconds(70);
const LENGTH = seconds(Number(process.env.BENCH_SECONDS ?? 30));
const TICKER = "setInterval(() => {}, 250); process.stdout.write('ready\\n')";
/** Starts per second; 0 is idle. */
const RATES = [0, 1, 10, 50] as const;
/** Starts before the first measurement: only the first ones compile code and build tables of rules. */
const FIRST_STARTS = 300;
/** Pause between two loads, in which the agent finishes the work of the last one. */
const SETTLE = seconds(3);

interface Cost {
  readonly percent: number;
  readonly wakeUps: number;
}

const native = new Native();
const missing = await auditIsMissing();
const bed = await TestBed.open({ desired: {} });
bed.writeConfiguration({ detections: { enabled: true } });
let ticker: Peer | undefined;
try {
  ticker = await Peer.start(process.execPath, ['-e', TICKER]);
  const agent = bed.startAgent();
  await agent.waitForStatus(({ hub }) => hub.state === 'connected');
  await native.start(FIRST_STARTS, 50);
  await systemClock.sleep(BEFORE);
  const rows: string[][] = [];
  let foreignStarts = 0;
  const agents: Cost[] = [];
  for (const rate of RATES) {
    const before = await startsSeen(agent);
    const [own, bare] = await measured([agent.pid, ticker.pid], rate);
    if (own === undefined || bare === undefined) throw new Error('nothing was measured');
    agents.push(own);
    if (rate !== 0) continue;
    foreignStarts = (await startsSeen(agent)) - before;
    rows.push(row('agent, connected', own, agent.pid, `CPU ≤ ${BUDGET_PERCENT}, RSS ≤ ${BUDGET_MIB}`));
    rows.push(row('bare Node with a timer of 250 ms', bare, ticker.pid));
  }
  const source = (await agent.status()).collectors.ProcessCreate?.source;
  await agent.end();
  const auditds = missing === undefined && hasAuditd() ? await auditdCosts() : [];
  report(
    'Idle: CPU in per cent of a core, wake-ups of all threads a second, resident memory at the end in MiB',
    [['', 'CPU', 'wake-ups', 'RSS', 'budgets'], ...rows],
    [
      `${PROGRAM}, ${LENGTH / 1_000} s. The result includes ${foreignStarts} starts by other processes.`,
      sourceNote(source, missing),
    ],
  );
  report(
    'Some starts a second: CPU in per cent of a core, wake-ups a second, µs of CPU a start above idle',
    [
      ['starts a second', 'agent', 'wake-ups', 'µs a start', 'auditd', 'wake-ups', 'µs a start'],
      ...RATES.map((rate, index) => [String(rate), ...figures(agents, index), ...figures(auditds, index)]),
    ],
    [
      `${native.load}; ${LENGTH / 1_000} s each, after ${FIRST_STARTS} others. auditd reads starts only, the agent everything.`,
    ],
  );
} finally {
  await ticker?.end();
  await bed.close();
  native.remove();
}

async function startsSeen(agent: AgentProcess): Promise<number> {
  const { events } = await agent.status();
  await systemClock.sleep(seconds(1)); // the request costs the agent a few milliseconds
  return events.ProcessCreate?.collected ?? 0;
}

async function measured(pids: readonly number[], rate: number): Promise<Cost[]> {
  await systemClock.sleep(SETTLE);
  const before = pids.map((pid) => ({ cpu: fineCpuMs(pid), wakeUps: wakeUps(pid) }));
  const began = systemClock.monotonic();
  if (rate > 0) await native.start(Math.round((LENGTH / 1_000) * rate), rate);
  await systemClock.sleep(milliseconds(Math.max(0, began + LENGTH - systemClock.monotonic())));
  const took = (systemClock.monotonic() - began) as Duration;
  return pids.map((pid, index) => ({
    percent: ((fineCpuMs(pid) - (before[index]?.cpu ?? 0)) / took) * 100,
    wakeUps: ((wakeUps(pid) - (before[index]?.wakeUps ?? 0)) / took) * 1_000,
  }));
}

function auditdCosts(): Promise<Cost[]> {
  return withAuditd(async ({ pid }) => {
    const costs: Cost[] = [];
    for (const rate of RATES) costs.push(...(await measured([pid], rate)));
    return costs;
  });
}

function row(name: string, { percent, wakeUps }: Cost, pid: number, budgets = ''): string[] {
  return [name, percent.toFixed(3), wakeUps.toFixed(1), memory(pid).rss.toFixed(1), budgets];
}

function figures(costs: readonly Cost[], index: number): string[] {
  const [idle, cost] = [costs[0], costs[index]];
  const rate = RATES[index] ?? 0;
  if (idle === undefined || cost === undefined) return ['not measured', '', ''];
  const each = rate === 0 ? '' : (((cost.percent - idle.percent) * 10_000) / rate).toFixed(0);
  return [cost.percent.toFixed(3), cost.wakeUps.toFixed(1), each];
}
