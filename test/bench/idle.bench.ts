import { systemClock } from '../../src/base/clock.ts';
import { seconds } from '../../src/base/duration.ts';
import { PROGRAM, TestBed } from '../integration/test-bed.ts';
import { fineCpuMs, memory, Peer, report, wakeUps } from './figures.ts';
import { auditIsMissing, sourceNote } from './slot.ts';

/*
 * What the agent costs while nothing happens: connected, in the configuration it has by itself. To measure the program
 * that is installed, and for longer: VAKT_PROGRAM=/usr/lib/vakt/main.js BENCH_SECONDS=600 npm run bench idle
 */

const BUDGET_PERCENT = 0.3;
const BUDGET_MIB = 64;
/** The agent gives back memory a minute after its start, and has opened its eyes long before. */
const BEFORE = seconds(70);
const LENGTH = seconds(Number(process.env.BENCH_SECONDS ?? 30));
const TICKER = "setInterval(() => {}, 250); process.stdout.write('ready\\n')";

const missing = await auditIsMissing();
const bed = await TestBed.open({ desired: {} });
bed.writeConfiguration({ detections: { enabled: true } });
let ticker: Peer | undefined;
try {
  ticker = await Peer.start(process.execPath, ['-e', TICKER]);
  const agent = bed.startAgent();
  await agent.waitForStatus(({ hub }) => hub.state === 'connected');
  const programs = async () => (await agent.status()).events.ProcessCreate?.collected ?? 0;
  await systemClock.sleep(BEFORE);
  const seen = await programs();
  await systemClock.sleep(seconds(1));
  const pids = [agent.pid, ticker.pid] as const;
  const before = pids.map((pid) => ({ cpu: fineCpuMs(pid), wakeUps: wakeUps(pid) }));
  await systemClock.sleep(LENGTH);
  const figures = pids.map((pid, index) => {
    const percent = ((fineCpuMs(pid) - (before[index]?.cpu ?? 0)) / LENGTH) * 100;
    const woken = ((wakeUps(pid) - (before[index]?.wakeUps ?? 0)) / LENGTH) * 1_000;
    return [percent.toFixed(3), woken.toFixed(1), memory(pid).rss.toFixed(1)];
  });
  const started = (await programs()) - seen;
  const { collectors } = await agent.status();
  report(
    'Idle: CPU in per cent of a core, wake-ups of all threads a second, resident memory at the end in MiB',
    [
      ['', 'CPU', 'wake-ups', 'RSS', 'budgets'],
      ['agent, connected', ...(figures[0] ?? []), `CPU ≤ ${BUDGET_PERCENT}, RSS ≤ ${BUDGET_MIB}`],
      ['bare Node with a timer of 250 ms', ...(figures[1] ?? []), ''],
    ],
    [
      `${PROGRAM}, ${LENGTH / 1_000} s. Meanwhile ${started} programs were started by others, and cost the agent what they cost.`,
      sourceNote(collectors.ProcessCreate?.source, missing),
    ],
  );
} finally {
  await ticker?.end();
  await bed.close();
}
