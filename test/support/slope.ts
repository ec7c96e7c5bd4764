/** A point of a measurement: what was measured as `y` at `x`. */
export interface Point {
  readonly x: number;
  readonly y: number;
}

/** The straight line through points by least squares. */
export interface Slope {
  /** `y` for each `x`. */
  readonly perX: number;
  /** Where the line is at `x` = 0. */
  readonly at0: number;
  /** The true slope is within `perX` ± `margin` with 95 % probability, if the deviations from the line are independent. */
  readonly margin: number;
}

/** Fewer points tell nothing: the margin would be a guess. */
export const FEWEST_POINTS = 5;

/** Least squares. @returns `undefined` for fewer than FEWEST_POINTS points, or when all are at one `x` */
export function slopeOf(points: readonly Point[]): Slope | undefined {
  const count = points.length;
  if (count < FEWEST_POINTS) return undefined;
  const meanX = mean(points.map(({ x }) => x));
  const meanY = mean(points.map(({ y }) => y));
  const spread = sum(points.map(({ x }) => (x - meanX) ** 2));
  if (spread === 0) return undefined;
  const perX = sum(points.map(({ x, y }) => (x - meanX) * (y - meanY))) / spread;
  const at0 = meanY - perX * meanX;
  const deviations = sum(points.map(({ x, y }) => (y - at0 - perX * x) ** 2));
  const freedom = count - 2;
  const error = Math.sqrt(deviations / freedom / spread);
  return { perX, at0, margin: error * quantile(freedom) };
}

/**
 * The 97.5 % quantile of Student's t distribution, within 1 % from three degrees of freedom on. Source: the expansion of
 * Fisher and Cornish, Abramowitz and Stegun, 26.7.5.
 */
function quantile(freedom: number): number {
  const z = 1.959964;
  const terms = [
    z,
    (z ** 3 + z) / 4,
    (5 * z ** 5 + 16 * z ** 3 + 3 * z) / 96,
    (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / 384,
  ];
  return sum(terms.map((term, power) => term / freedom ** power));
}

const sum = (values: readonly number[]): number => values.reduce((all, value) => all + value, 0);
const mean = (values: readonly number[]): number => sum(values) / values.length;
