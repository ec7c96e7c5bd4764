import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { listeningPorts } from '../../src/agent/collectors/listening-ports.ts';
import { ListeningSockets } from '../../src/agent/linux/sockets/listening-sockets.ts';
import { sources } from '../agent/collectors/samples.ts';
import { median, Peer, range, report, scriptOf } from './figures.ts';

/*
 * Cost of listing the listening sockets for ListeningPorts, with process, program and user, among 10,000 other sockets. The peer
 * lists the same. Runs in a new network namespace, if permitted, so that other listening sockets do not count.
 */

const SOCKETS = 10_000;
const BUDGET_MS = 20;
const RUNS = 15;

const isAlone = process.env.VAKT_BENCH_ALONE === '1';
const run = (command: string, ...args: string[]) => spawnSync(command, args).status === 0;
const addVxlan = () =>
  isAlone &&
  run('ip', ...'link add vakt0 type vxlan id 1 dstport 4789 local 127.0.0.1'.split(' ')) &&
  run('ip', 'link', 'set', 'vakt0', 'up');

/** Layouts of listening sockets; `undefined` if this machine does not support one. */
const LAYOUTS: Readonly<Record<string, () => 'first' | 'late' | undefined>> = {
  'a server with 10,000 connections': () => 'first',
  'it opens another listener last': () => 'late',
  'a socket of the kernel, too (VXLAN)': () => (addVxlan() ? 'first' : undefined),
};

interface Cost {
  readonly wallMs: number;
  readonly cpuMs: number;
}

async function costOf(work: () => unknown): Promise<Cost> {
  const cpu = process.cpuUsage();
  const from = performance.now();
  await work();
  const wallMs = performance.now() - from;
  const { user, system } = process.cpuUsage(cpu);
  return { wallMs, cpuMs: (user + system) / 1_000 };
}

async function repeat(work: () => unknown): Promise<Cost[]> {
  const costs: Cost[] = [];
  for (let count = 0; count < RUNS; count += 1) costs.push(await costOf(work));
  return costs;
}

const list = (sockets: ListeningSockets) =>
  listeningPorts.collect({ ...sources, sockets }, new AbortController().signal);

const figures = (costs: readonly Cost[], kind: keyof Cost) => {
  const values = costs.map((cost) => cost[kind]);
  return `${median(values).toFixed(1)} (${range(values, 1)})`;
};

const inUse = () => Number(/^sockets: used (\d+)/.exec(readFileSync('/proc/net/sockstat', 'latin1'))?.[1]);
const processes = () => readdirSync('/proc').filter((name) => /^\d+$/.test(name)).length;

async function measure(): Promise<void> {
  const rows: string[][] = [];
  const notes: string[] = [];
  const hasPeer = run('ss', '-V');
  for (const [layout, prepare] of Object.entries(LAYOUTS)) {
    const order = prepare();
    if (order === undefined) continue;
    const holder = await Peer.start(process.execPath, [scriptOf('socket-holder'), String(SOCKETS), order]);
    try {
      for (let count = 0; count < 3; count += 1) await list(new ListeningSockets()); // compiles the code
      const first = await repeat(() => list(new ListeningSockets()));
      const kept = new ListeningSockets();
      await list(kept);
      const found = await list(kept);
      const later = await repeat(() => list(kept));
      const peer = hasPeer ? await repeat(() => spawnSync('ss', ['-tulpn'])) : [];
      rows.push([
        layout,
        figures(first, 'cpuMs'),
        figures(first, 'wallMs'),
        figures(later, 'cpuMs'),
        figures(later, 'wallMs'),
        hasPeer ? figures(peer, 'wallMs') : 'not here',
      ]);
      const visible = found.filter(
        ({ ExtraDetails }) => ExtraDetails !== undefined && 'Pid' in Object(ExtraDetails),
      ).length;
      notes.push(
        `${layout}: ${found.length} listed, ${visible} of them with a process; ${inUse()} sockets, ${processes()} processes.`,
      );
    } finally {
      await holder.end();
    }
  }
  report(
    `ms to list listeners among ${SOCKETS} other sockets, median (range) of ${RUNS} (budget: ≤ ${BUDGET_MS})`,
    [['layout', 'first, CPU', 'first, wall', 'later, CPU', 'later, wall', 'ss -tulpn, wall'], ...rows],
    [
      ...notes,
      'A first listing has no cache. The agent has two first listings, since it looks up a socket without a known process twice;',
      'then it compares all descriptors of all processes.',
    ],
  );
}

const alone = { env: { ...process.env, VAKT_BENCH_ALONE: '1' }, stdio: 'inherit' } as const;
if (isAlone) {
  run('ip', 'link', 'set', 'lo', 'up');
  await measure();
} else if (run('unshare', '--net', 'true')) {
  process.exitCode = spawnSync('unshare', ['--net', process.execPath, scriptOf('listeners.bench')], alone).status ?? 1;
} else {
  await measure();
}
