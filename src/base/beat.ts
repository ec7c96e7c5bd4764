import type { Clock } from './clock.ts';
import { type Duration, milliseconds } from './duration.ts';

/**
 * How long to rest for about `pause`, so that the rest ends on a beat: a multiple of `pause` of the monotonic clock.
 *
 * Loops that look for something new every now and then rest like this. As most of their pauses are multiples of one
 * another, they wake together: an idle processor is woken once for all of them, which costs it far more than what they do.
 *
 * @returns between half of `pause` and one and a half: Node's timers may end a little early, and the beat that has just
 *   been kept must not be kept again
 */
export function untilBeat(clock: Pick<Clock, 'monotonic'>, pause: Duration): Duration {
  const left = pause - (clock.monotonic() % pause);
  return milliseconds(left < pause / 2 ? left + pause : left);
}
