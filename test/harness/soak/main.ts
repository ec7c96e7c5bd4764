import { writeFileSync } from 'node:fs';
import { milliseconds } from '../../../src/core/base/duration.ts';
import { newSeed, readOptions, say, wrongUsage } from '../options.ts';
import { HostileLoad } from './hostile-load.ts';
import { picture } from './picture.ts';
import { isAtRest, type Look, Soak } from './soak.ts';
import { judge, judgeBeside, type Limit, lowest, type Verdict } from './verdict.ts';

/*
 * npm run test:soak: days of a gateway, sped up, with one agent that is never restarted. After each hour of the gateway's the
 * books are checked and the agent is measured at rest; at the end the slopes show whether anything has grown.
 */
const USAGE =
  'usage: npm run test:soak -- [--hours N] [--day MINUTES] [--from HOUR] [--apart | --hostile] [--seed S] [--plot FILE]\n' +
  '--hours: how long the run is; the last hour of the gateway is completed; by default 1\n' +
  '--day: how long a day of the gateway is, at least 2; by default 60\n' +
  '--from: the hour of the day with which the run begins, by default 0\n' +
  '--apart: program starts are read from a log in the form of auditd that this program writes: nothing else on this\n' +
  '         machine counts\n' +
  '--hostile: a user of this machine attacks the agent meanwhile\n' +
  '--plot: where the picture is written, by default dist/soak.svg\n';
const values = readOptions(
  {
    hours: { type: 'string', default: '1' },
    day: { type: 'string', default: '60' },
    from: { type: 'string', default: '0' },
    seed: { type: 'string' },
    hostile: { type: 'boolean', default: false },
    apart: { type: 'boolean', default: false },
    plot: { type: 'string', default: 'dist/soak.svg' },
  },
  USAGE,
);
const hours = Number(values.hours);
const day = Number(values.day);
const from = Number(values.from);
const seed = Number(values.seed ?? newSeed());
if (
  !(hours > 0) ||
  !(day >= 2) ||
  !(from >= 0) ||
  ![from, seed].every(Number.isSafeInteger) ||
  (values.apart && values.hostile)
)
  wrongUsage(USAGE);
const missing = values.hostile ? HostileLoad.missing() : undefined;
if (missing !== undefined) {
  process.stderr.write(`--hostile cannot be used here: ${missing}.\n`);
  process.exit(2);
}

/** Maximum growth of the agent per day of the gateway. Changes by other processes are not evaluated. */
const LIMITS: Readonly<Record<Exclude<keyof Look, 'x'>, Limit>> = {
  rss: { name: 'resident memory (RSS)', unit: 'MiB', perDay: 1 },
  pss: { name: 'proportional memory (PSS)', unit: 'MiB' },
  own: { name: 'memory of its own (PSS without files)', unit: 'MiB', perDay: 1 },
  live: { name: 'memory that is alive after a collection, without code', unit: 'MiB', perDay: 0.5 },
  code: { name: 'code that V8 has compiled', unit: 'MiB' },
  descriptors: { name: 'descriptors', unit: '', perDay: 1 },
  state: { name: 'state directory', unit: 'KiB', perDay: 256 },
  rest: { name: 'CPU for a second at rest', unit: 'ms' },
  peer: { name: 'CPU of the peer that is woken up for 1,000 starts', unit: 'ms' },
  unit: { name: "CPU for 1,000 starts beside the peer's", unit: 'ms', perDay: 20 },
};

const minutesToMs = (minutes: number) => milliseconds(minutes * 60_000);
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
say(`seed ${seed}`);
const { looks, samples, disturbances, verdict, source } = await Soak.run({
  duration: minutesToMs(hours * 60),
  day: minutesToMs(day),
  from,
  seed,
  hostile: values.hostile,
  isApart: values.apart,
  signal: stop.signal,
  say,
});
const verdicts = Object.entries(LIMITS).map(([name, limit]) => {
  const figure = name as keyof typeof LIMITS;
  return { figure, ...verdictOn(figure, limit) };
});
for (const verdict of verdicts) say(inWords(verdict));
writeFileSync(values.plot, picture({ looks, samples, disturbances, verdicts, source, isHostile: values.hostile }));
say(`plot: ${values.plot}`);
const grew = verdicts.filter(({ judgement }) => judgement === 'grows');
process.exit(verdict.isPassed && grew.length === 0 ? 0 : 1);

function verdictOn(figure: keyof typeof LIMITS, limit: Limit): Verdict {
  if (figure === 'unit') {
    return judgeBeside(
      limit,
      looks.map(({ x, unit, peer }) => ({ x, y: unit, beside: peer })),
    );
  }
  return judge(
    limit,
    isAtRest(figure) ? looks.map((look) => ({ x: look.x, y: look[figure] })) : lowest(figure, looks, samples),
  );
}

function inWords({ name, unit, perDay, slope, judgement, points }: Verdict): string {
  if (slope === undefined) return `${name}: unknown, since ${points.length} measurements are too few`;
  const by = `${slope.perX.toFixed(2)} ± ${slope.margin.toFixed(2)} ${unit} a day`.replace('  ', ' ');
  return `${name}: ${judgement}, ${by}${perDay === undefined ? '' : `; the limit is ${perDay}`}`;
}
