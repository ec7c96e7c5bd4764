import { systemClock } from '../../src/core/base/clock.ts';
import { seconds } from '../../src/core/base/duration.ts';
import { median } from '../bench/figures.ts';
import { DEVICE, MODULE } from '../integration/test-bed.ts';
import type { Board } from './board.ts';
import type { InstalledAgent } from './installed-agent.ts';

const ROUNDS = 3;
/** The agent releases memory a minute after its start. */
const BEFORE = seconds(90);
const LENGTH = seconds(150);
const TICKS_PER_SECOND = 100;
const PEER = ['/usr/bin/node', '-e', 'setInterval(() => {}, 250)'];

/**
 * Measures start, memory and idle CPU of the installed agent in its default configuration, and of a Node with a timer. Takes about
 * six minutes.
 *
 * @returns lines of a table
 */
export async function figures(board: Board, agent: InstalledAgent): Promise<string[]> {
  agent.bed.hub.replaceDesired(DEVICE, MODULE, {});
  const [ready, node]: [number[], number[]] = [[], []];
  for (let round = 0; round < ROUNDS; round += 1) {
    await agent.stop();
    node.push(Number(await board.must(['bash', '-c', 'TIMEFORMAT=%R; { time /usr/bin/node -e 0; } 2>&1'])));
    ready.push(await agent.start());
  }
  await board.must(['systemd-run', '-q', '--unit=peer', ...PEER]);
  await agent.waitForStatus('connected', ({ hub }) => hub.state === 'connected');
  const pids = [await agent.pid(), (await board.must(['systemctl', 'show', '-P', 'MainPID', 'peer'])).trim()];
  await systemClock.sleep(BEFORE);
  const before = await processorSeconds(board, pids);
  await systemClock.sleep(LENGTH);
  const after = await processorSeconds(board, pids);
  const memory: { readonly rss: number; readonly pss: number }[] = [];
  for (const pid of pids) memory.push(await kilobytes(board, pid));
  await board.must(['systemctl', 'stop', 'peer']);
  const row = (figure: string, [agentValue = 0, nodeValue = 0]: readonly number[], unit: string) =>
    `${figure}: ${agentValue.toFixed(2)} / ${nodeValue.toFixed(2)} ${unit}, ${(agentValue / nodeValue).toFixed(2)} times`;
  const each = (pick: (of: { readonly rss: number; readonly pss: number }) => number) =>
    memory.map((one) => pick(one) / 1024);
  const cpu = after.map((spent, index) => ((spent - (before[index] ?? 0)) * 100_000) / LENGTH);
  return [
    row(
      'RSS, agent / Node with a timer',
      each(({ rss }) => rss),
      'MiB',
    ),
    row(
      'PSS',
      each(({ pss }) => pss),
      'MiB',
    ),
    row('idle CPU', cpu, '% of the core'),
    row(`start to READY / node -e 0, medians of ${ROUNDS}`, [median(ready), median(node)], 's'),
  ];
}

/** User and system time of each process; see proc_pid_stat(5). */
async function processorSeconds(board: Board, pids: readonly string[]): Promise<number[]> {
  const lines = await board.must(['cat', ...pids.map((pid) => `/proc/${pid}/stat`)]);
  return lines
    .trim()
    .split('\n')
    .map((line) => {
      const fields = line.slice(line.lastIndexOf(')')).split(' '); // from the second field on
      return (Number(fields[12]) + Number(fields[13])) / TICKS_PER_SECOND;
    });
}

async function kilobytes(board: Board, pid: string): Promise<{ rss: number; pss: number }> {
  const text = await board.must(['cat', `/proc/${pid}/smaps_rollup`]);
  const of = (name: string) => Number(new RegExp(`^${name}: +(\\d+) kB$`, 'm').exec(text)?.[1]);
  return { rss: of('Rss'), pss: of('Pss') };
}
