import type { Clock } from './clock.ts';
import { seconds } from './duration.ts';
import { messageOf, toAgentError } from './errors.ts';
import type { Logger } from './log.ts';
import { WatchedClock } from './watched-clock.ts';

/** How long a loop rests after a turn that threw, so that it doesn't spin. */
const REST = seconds(1);

/**
 * Takes one turn after the other until `signal` aborts. Never rejects.
 *
 * A turn that throws has met a defect of ours: that is said once, not again while the message stays the same, and must
 * not end the loop, or a part of the agent would be dead while the rest looks well.
 */
export async function keepGoing(
  turn: (signal: AbortSignal) => Promise<void>,
  { signal, clock, log }: { signal: AbortSignal; clock: Clock; log: Logger },
): Promise<void> {
  let said: string | undefined;
  while (!signal.aborted) {
    if (clock instanceof WatchedClock) clock.moves();
    try {
      await turn(signal);
    } catch (error) {
      if (messageOf(error) !== said) log.error({ err: toAgentError(error) }, 'Internal error; continuing.');
      said = messageOf(error);
      await clock.sleep(REST, signal);
    }
  }
}
