import { systemClock } from '../../../src/core/base/clock.ts';
import { isCount, newSeed, readOptions, say, wrongUsage } from '../options.ts';
import { SITUATIONS, type Situation } from './plans.ts';
import { type Recovery, Restarts } from './restarts.ts';
import { SITE_NAMES, type SiteName } from './sites.ts';
import { isSituation, runTable } from './table.ts';

/*
 * npm run test:restarts: an agent sends numbered events while its dependencies are restarted, silent, slow, wrong or
 * refusing, N times. Then reports the outcome of the events, and how soon the agent recovered. Several agents run at
 * the same time.
 *
 * With --table: runs an agent of each kind in each situation that applies to it, and prints tables of its errors and
 * actions, and of the seconds until it was connected.
 */
const USAGE =
  'usage: npm run test:restarts -- [--runs N] [--seed S] [--kind KIND …] [--parallel N] [--verbose]\n' +
  '       npm run test:restarts -- --table [--kind KIND …] [--situation SITUATION …] [--parallel N]\n' +
  `KIND: ${SITE_NAMES.join(', ')}\nSITUATION: ${SITUATIONS.join(', ')}\n`;
const values = readOptions(
  {
    runs: { type: 'string', default: '200' },
    seed: { type: 'string' },
    kind: { type: 'string', multiple: true },
    parallel: { type: 'string', default: '4' },
    table: { type: 'boolean', default: false },
    situation: { type: 'string', multiple: true },
    verbose: { type: 'boolean', default: false },
  },
  USAGE,
);
const runs = Number(values.runs);
const parallel = Number(values.parallel);
const seed = Number(values.seed ?? newSeed());
const names = (values.kind ?? SITE_NAMES) as SiteName[];
const situations = values.situation ?? SITUATIONS;
const areNumbers = isCount(runs) && isCount(parallel) && Number.isSafeInteger(seed);
if (!areNumbers || names.some((name) => !SITE_NAMES.includes(name)) || !situations.every(isSituation))
  wrongUsage(USAGE);

const table = { sites: names, situations: situations as readonly Situation[], parallel, say };
if (values.table) process.exit((await runTable(table)) ? 0 : 1);
const done: Restarts[] = [];
for (const site of names) done.push(...(await restart(site)));
process.exit(done.every(({ verdict }) => verdict.isPassed) ? 0 : 1);

async function restart(site: SiteName): Promise<readonly Restarts[]> {
  const began = systemClock.monotonic();
  const agents = Math.min(parallel, runs);
  const done = await Promise.all(
    Array.from({ length: agents }, (_, index) => {
      const restarts = Math.floor(runs / agents) + (index < runs % agents ? 1 : 0);
      return Restarts.run({ site, restarts, seed: seed + index, say, isVerbose: values.verbose });
    }),
  );
  const took = Math.round((systemClock.monotonic() - began) / 1_000);
  say(`${site}, ${runs} restarts, seed ${seed}, ${agents} at a time, ${took} s:`);
  for (const one of done) report(one);
  sayRecoveries(done.flatMap(({ recoveries }) => recoveries));
  return done;
}

function report({ settled, mostPerMinute, mostRefused }: Restarts): void {
  if (settled === undefined) {
    say('  failed before all events could be compared');
    return;
  }
  const { events, delivered, repeated, missing } = settled;
  const pace = Object.entries(mostPerMinute).map(([name, most]) => `${name} ${most}`);
  say(
    `  ${events} events: ${delivered} delivered, ${repeated} repeated, ${missing} missing; attempts per minute: ${pace.join(', ')}; refused in a row: ${mostRefused}`,
  );
}

function sayRecoveries(recoveries: readonly Recovery[]): void {
  const names = [...new Set(recoveries.map(({ fault }) => fault))].sort();
  for (const name of ['all', ...names]) {
    const of = recoveries.filter(({ fault }) => name === 'all' || fault === name).map(({ seconds }) => seconds);
    const sorted = of.sort((one, other) => one - other);
    const at = (part: number) =>
      (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN).toFixed(1);
    say(`  recovered from ${name}, ${sorted.length} times: median ${at(0.5)} s, 90 % ${at(0.9)} s, longest ${at(1)} s`);
  }
}
