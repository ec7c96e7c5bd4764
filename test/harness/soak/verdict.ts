import { type Point, type PointBeside, type Slope, slopeBeside, slopeOf } from '../slope.ts';

/** Limit of a metric's growth in one day of the gateway, which is a unit of work as well as of time. */
export interface Limit {
  readonly name: string;
  readonly unit: string;
  /** If omitted, the metric is shown but not evaluated. */
  readonly perDay?: number;
}

/**
 * `steady`: it grows by less than the limit. `grows`: by more. Both with 95 % confidence. `unknown`: the run was too
 * short for a result.
 */
export type Judgement = 'steady' | 'grows' | 'unknown' | 'not judged';

export interface Verdict extends Limit {
  /** `y` for each day; absent for too few points. */
  readonly slope?: Slope;
  readonly judgement: Judgement;
  /** The evaluated points; for `judgeBeside`, corrected to the mean of the second variable. */
  readonly points: readonly Point[];
}

/** Part of the run that isn't evaluated: V8 is still compiling hot code and growing the heap. */
const WARM_UP = 0.25;

/** @param points measured at rest, `x` in days since the start */
export function judge(limit: Limit, points: readonly Point[]): Verdict {
  const judged = withoutWarmUp(points);
  return verdictOf(limit, judged, slopeOf(judged));
}

/** Evaluates a metric that depends on the machine, relative to a peer. @param points with the peer's measurement */
export function judgeBeside(limit: Limit, points: readonly PointBeside[]): Verdict {
  const { points: judged, slope } = slopeBeside(withoutWarmUp(points)) ?? { points: withoutWarmUp(points) };
  return verdictOf(limit, judged, slope);
}

function withoutWarmUp<P extends Point>(points: readonly P[]): readonly P[] {
  const end = points.at(-1)?.x ?? 0;
  return points.filter(({ x }) => x >= end * WARM_UP);
}

const verdictOf = (limit: Limit, points: readonly Point[], slope: Slope | undefined): Verdict => ({
  ...limit,
  points,
  ...(slope === undefined ? {} : { slope }),
  judgement: judgementOf(limit, slope),
});

function judgementOf({ perDay }: Limit, slope: Slope | undefined): Judgement {
  if (perDay === undefined) return 'not judged';
  if (slope === undefined) return 'unknown';
  if (slope.perX - slope.margin > perDay) return 'grows';
  return slope.perX + slope.margin <= perDay ? 'steady' : 'unknown';
}

/**
 * The lowest value in each hour of the gateway, at work or at rest. Between two collections by V8, garbage makes the
 * memory grow, so only the lowest value shows how much the agent holds.
 *
 * @param looks at the end of each hour
 * @param samples of all hours
 */
export function lowest<Figure extends string>(
  figure: Figure,
  looks: readonly (Readonly<Record<Figure, number>> & { readonly x: number })[],
  samples: readonly (Readonly<Record<Figure, number>> & { readonly x: number })[],
): readonly Point[] {
  return looks.map((look, index) => {
    const from = looks[index - 1]?.x ?? 0;
    const within = samples.filter(({ x }) => x > from && x <= look.x);
    return { x: look.x, y: Math.min(look[figure], ...within.map((sample) => sample[figure])) };
  });
}
