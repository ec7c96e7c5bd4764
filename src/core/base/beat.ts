import type { Clock } from './clock.ts';
import { type Duration, milliseconds } from './duration.ts';

/**
 * The time until the next beat: an instant at which the monotonic clock shows a multiple of `pause`.
 *
 * For loops that poll. Most of their intervals are multiples of one another, so that they wake together: waking an idle
 * processor costs far more than what each loop does.
 *
 * @returns from 0.5 to 1.5 times `pause`: Node's timers may fire a little early, and a beat must not be used twice
 */
export function untilBeat(clock: Pick<Clock, 'monotonic'>, pause: Duration): Duration {
  const left = pause - (clock.monotonic() % pause);
  return milliseconds(left < pause / 2 ? left + pause : left);
}
