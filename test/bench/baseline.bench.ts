/*
 * Cost of evaluating all default hardening rules on this system, and of walking a large tree. Budget: 1 s, 5 s of CPU, 15 MB of
 * memory, no block of the event loop above 50 ms. The peer is Lynis (Debian's package), which checks much of the same.
 *
 *   node dist/test/bench/baseline.bench.js [ENTRIES]      ENTRIES of the walked tree, default 100000
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { BaselineEngine } from '../../src/agent/baseline/engine.ts';
import { Firewall } from '../../src/agent/linux/firewall/firewall.ts';
import { fileCapabilities } from '../../src/agent/linux/native/system-calls.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { milliseconds } from '../../src/core/base/duration.ts';
import type { ScanOptions } from '../../src/core/contract/baseline.ts';
import { NODE_FLAGS } from '../node-flags.ts';
import { report } from './figures.ts';

/** Measures memory with the agent's Node flags. */
if (!NODE_FLAGS.every((flag) => process.execArgv.includes(flag))) {
  const args = [...NODE_FLAGS, ...process.argv.slice(1)];
  process.exit(spawnSync(process.execPath, args, { stdio: 'inherit' }).status ?? 1);
}

const LYNIS = '/usr/sbin/lynis';
const SCANS = 5;
const ENTRIES = Number(process.argv[2] ?? 100_000);
const IN_A_FOLDER = 1_000;
const DEFAULT: ScanOptions = { level: 1, walk: false, groupsDisabled: [], checksDisabled: [], roles: [] };

const residentMiB = () => process.memoryUsage.rss() / 2 ** 20;

async function scan(name: string, hostRoot: string, options: Partial<ScanOptions>): Promise<string[]> {
  const engine = new BaselineEngine({ hostRoot, clock: systemClock, firewall: new Firewall(), fileCapabilities });
  const before = residentMiB();
  const pauses = monitorEventLoopDelay({ resolution: 1 });
  pauses.enable();
  await systemClock.sleep(milliseconds(20));
  pauses.reset();
  const cpu = process.cpuUsage();
  const { durationMs, outcomes } = await engine.scan({ ...DEFAULT, ...options }, new AbortController().signal);
  const { user, system } = process.cpuUsage(cpu);
  await systemClock.sleep(milliseconds(20));
  pauses.disable();
  const count = (wanted: string) => outcomes.filter(({ result }) => result === wanted).length;
  return [
    name,
    String(count('pass') + count('fail') + count('err')),
    (durationMs / 1_000).toFixed(2),
    ((user + system) / 1e6).toFixed(2),
    (residentMiB() - before).toFixed(1),
    (pauses.max / 1e6).toFixed(0),
    ['pass', 'fail', 'err', 'skip'].map(count).join(', '),
  ];
}

/** CPU time of exited children in seconds; see proc_pid_stat(5). */
function childrensCpu(): number {
  const stat = readFileSync('/proc/self/stat', 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[13]) + Number(fields[14])) / 100;
}

function lynis(): string[] {
  if (!existsSync(LYNIS)) return ['peer: lynis is not installed', '', '', '', '', '', ''];
  const folder = mkdtempSync(join(tmpdir(), 'vakt-lynis-'));
  const began = systemClock.monotonic();
  const cpuBefore = childrensCpu();
  const files = ['--logfile', join(folder, 'log'), '--report-file', join(folder, 'report')];
  const { stdout } = spawnSync(LYNIS, ['audit', 'system', '--quick', '--no-colors', ...files], { encoding: 'utf8' });
  const seconds = (systemClock.monotonic() - began) / 1_000;
  rmSync(folder, { recursive: true });
  const tests = /Tests performed\s*:\s*(\d+)/.exec(stdout)?.[1] ?? '?';
  return ['peer: lynis audit system', tests, seconds.toFixed(2), (childrensCpu() - cpuBefore).toFixed(2), '', '', ''];
}

function largeTree(): string {
  const root = mkdtempSync(join(tmpdir(), 'vakt-walk-'));
  for (let folder = 0; folder * IN_A_FOLDER < ENTRIES; folder += 1) {
    mkdirSync(join(root, `srv/${folder}`), { recursive: true });
    for (let file = 1; file < IN_A_FOLDER; file += 1) writeFileSync(join(root, `srv/${folder}/${file}`), '');
  }
  return root;
}

const rows = [
  ['', 'judged', 'seconds', 'CPU seconds', 'RSS growth (MiB)', 'longest pause (ms)', 'pass, fail, err, skip'],
];
for (let i = 1; i <= SCANS; i += 1) rows.push(await scan(`this system, scan ${i}`, '/', {}));
rows.push(await scan('this system, level 2', '/', { level: 2 }));
const tree = largeTree();
try {
  rows.push(
    await scan(`walk over ${ENTRIES} files`, tree, {
      only: ['walk.setid', 'walk.unowned', 'walk.world-writable-files'],
    }),
  );
} finally {
  rmSync(tree, { recursive: true });
}
rows.push(lynis());
report('Hardening rules', rows, [
  'Budget: 1 s, 5 s of CPU, 15 MiB, no pause above 50 ms. The first scan reads the rules.',
  'A walk rests as long as it works, and ends after 2,000,000 entries or 300 s.',
]);
