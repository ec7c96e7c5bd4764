/** A span of time in milliseconds. The type keeps seconds and milliseconds from being mixed up. */
export type Duration = number & { readonly unit: 'ms' };

export const milliseconds = (n: number) => n as Duration;
export const seconds = (n: number) => milliseconds(n * 1_000);
export const minutes = (n: number) => seconds(n * 60);
export const hours = (n: number) => minutes(n * 60);
export const days = (n: number) => hours(n * 24);

/** Before any moment of the monotonic clock. */
export const LONG_AGO = milliseconds(Number.NEGATIVE_INFINITY);
/** After any moment of the monotonic clock. */
export const NEVER = milliseconds(Number.POSITIVE_INFINITY);

/** The number of a component; see parseDuration for where a fraction is allowed. */
const N = String.raw`(\d{1,15}(?:[.,]\d{1,9})?)`;
const ISO_8601 = new RegExp(`^P(?:${N}Y)?(?:${N}M)?(?:${N}W)?(?:${N}D)?(T(?:${N}H)?(?:${N}M)?(?:${N}S)?)?$`);
const COMPONENT_MS = [days(365), days(30), days(7), days(1), hours(1), minutes(1), seconds(1)];
/** Digits of a fraction that the grammar allows. */
const DIGITS = 9;
/** Units per millisecond for exact sums: each fraction that the grammar allows is a whole number of these units. */
const PARTS_OF_MS = 10n ** BigInt(DIGITS);

/**
 * Reads an ISO 8601 duration, `P[nY][nM][nW][nD][T[nH][nM][nS]]` (ISO 8601-1:2019, 5.5.2), rounded to a millisecond.
 *
 * At least one component is required, and only the last one may have a decimal fraction. A month is 30 days, a
 * year 365. Signs are not accepted.
 *
 * @param shortest,longest the range, both ends included. The duration is compared before it is rounded.
 * @returns `undefined` when the text is not such a duration, is outside the range, or is zero when rounded (`PT0S`)
 */
export function parseDuration(text: string, shortest?: Duration, longest?: Duration): Duration | undefined {
  const match = ISO_8601.exec(text);
  if (match === null) return undefined;
  const [, years, months, weeks, daysOf, time, hoursOf, minutesOf, secondsOf] = match;
  if (time === 'T') return undefined;
  const components = [years, months, weeks, daysOf, hoursOf, minutesOf, secondsOf];
  const last = components.findLastIndex((component) => component !== undefined);
  if (last === -1) return undefined;
  let total = 0n;
  for (const [index, component] of components.entries()) {
    if (component === undefined) continue;
    const [whole = '', fraction] = component.split(/[.,]/);
    if (index !== last && fraction !== undefined) return undefined;
    total += BigInt(whole + (fraction ?? '').padEnd(DIGITS, '0')) * BigInt(COMPONENT_MS[index] ?? 0);
  }
  if (shortest !== undefined && total < BigInt(shortest) * PARTS_OF_MS) return undefined;
  if (longest !== undefined && total > BigInt(longest) * PARTS_OF_MS) return undefined;
  const rounded = Number((total + PARTS_OF_MS / 2n) / PARTS_OF_MS);
  return rounded > 0 ? milliseconds(rounded) : undefined;
}

/** The shortest canonical spelling, `P1DT12H` or `PT0.5S`; `parseDuration` reads it back. @param span positive */
export function formatDuration(span: Duration): string {
  const whole = (unit: Duration, letter: string, rest: number) => {
    const count = Math.floor(rest / unit);
    return count === 0 ? '' : `${count}${letter}`;
  };
  const secondsLeft = (span % minutes(1)) / 1_000;
  const time = [
    whole(hours(1), 'H', span % days(1)),
    whole(minutes(1), 'M', span % hours(1)),
    secondsLeft === 0 ? '' : `${secondsLeft}S`,
  ].join('');
  return `P${whole(days(1), 'D', span)}${time === '' ? '' : `T${time}`}`;
}
