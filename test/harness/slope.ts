/** A point of a measurement: the value `y`, measured at `x`. */
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

/** With fewer points the margin would be a guess. */
export const FEWEST_POINTS = 5;

/** A point, and a second variable that was measured at the same `x`. */
export interface PointBeside extends Point {
  readonly beside: number;
}

/** If `beside` leaves less than this fraction of the variation of `x` unexplained, the two can't be separated. */
const LEAST_REST = 1e-9;

/**
 * The straight line of `y` by least squares over both `x` and `beside`, with `beside` at its mean. Changes that `y`
 * shares with `beside` do not count as slope, and the margin is wider if `beside` itself has a slope. Source: the
 * Frisch–Waugh theorem.
 *
 * @returns the line and the points, corrected to the mean of `beside`; `undefined` for FEWEST_POINTS points or fewer,
 *   or if `x` and `beside` can't be separated or do not vary
 */
export function slopeBeside(points: readonly PointBeside[]): { slope: Slope; points: Point[] } | undefined {
  if (points.length <= FEWEST_POINTS) return undefined;
  const ofX = slopeOf(points.map(({ x, beside }) => ({ x: beside, y: x })));
  const ofY = slopeOf(points.map(({ y, beside }) => ({ x: beside, y })));
  if (ofX === undefined || ofY === undefined) return undefined;
  const rest = ({ at0, perX }: Slope, value: number, beside: number) => value - at0 - perX * beside;
  const rests = points.map(({ x, y, beside }) => ({ x: rest(ofX, x, beside), y: rest(ofY, y, beside) }));
  if (spreadOf(rests.map(({ x }) => x)) <= LEAST_REST * spreadOf(points.map(({ x }) => x))) return undefined;
  const slope = slopeOf(rests, points.length - 3);
  if (slope === undefined) return undefined;
  const { perX, margin } = slope;
  const perBeside = ofY.perX - perX * ofX.perX;
  const meanBeside = mean(points.map(({ beside }) => beside));
  const adjusted = points.map(({ x, y, beside }) => ({ x, y: y - perBeside * (beside - meanBeside) }));
  const at0 = mean(adjusted.map(({ y }) => y)) - perX * mean(adjusted.map(({ x }) => x));
  return { slope: { perX, margin, at0 }, points: adjusted };
}

/**
 * Least squares.
 *
 * @param freedom the degrees of freedom
 * @returns `undefined` for fewer than FEWEST_POINTS points, or when all are at one `x`
 */
export function slopeOf(points: readonly Point[], freedom: number = points.length - 2): Slope | undefined {
  const count = points.length;
  if (count < FEWEST_POINTS) return undefined;
  const meanX = mean(points.map(({ x }) => x));
  const meanY = mean(points.map(({ y }) => y));
  const spread = spreadOf(points.map(({ x }) => x));
  if (spread === 0) return undefined;
  const perX = sum(points.map(({ x, y }) => (x - meanX) * (y - meanY))) / spread;
  const at0 = meanY - perX * meanX;
  const deviations = sum(points.map(({ x, y }) => (y - at0 - perX * x) ** 2));
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
const spreadOf = (values: readonly number[]): number => {
  const middle = mean(values);
  return sum(values.map((value) => (value - middle) ** 2));
};
