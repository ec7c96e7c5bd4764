import type { Clock } from './clock.ts';
import { seconds } from './duration.ts';
import { messageOf, toAgentError } from './errors.ts';
import type { Logger } from './log.ts';
import { WatchedClock } from './watched-clock.ts';

/** Delay after a turn that threw, so that the loop doesn't spin. */
const PAUSE_AFTER_ERROR = seconds(1);

/**
 * Runs `turn` again and again until `signal` aborts. Never rejects.
 *
 * An exception is a defect of the agent. It is logged, unless the last one had the same message, and the loop
 * continues: otherwise a part of the agent would be dead while the others report no fault.
 */
export async function keepGoing(
  turn: (signal: AbortSignal) => Promise<void>,
  { signal, clock, log }: { signal: AbortSignal; clock: Clock; log: Logger },
): Promise<void> {
  let lastMessage: string | undefined;
  while (!signal.aborted) {
    if (clock instanceof WatchedClock) clock.moves();
    try {
      await turn(signal);
    } catch (error) {
      if (messageOf(error) !== lastMessage) log.error({ err: toAgentError(error) }, 'Internal error; continuing.');
      lastMessage = messageOf(error);
      await clock.sleep(PAUSE_AFTER_ERROR, signal);
    }
  }
}

/** The loop of a service, by `keepGoing`: begins when the service starts and ends when it stops. */
export class Loop {
  readonly #turn: (signal: AbortSignal) => Promise<void>;
  readonly #options: { readonly clock: Clock; readonly log: Logger };
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(turn: (signal: AbortSignal) => Promise<void>, { clock, log }: { clock: Clock; log: Logger }) {
    this.#turn = turn;
    this.#options = { clock, log };
  }

  /** Call this once. Does nothing after `stop`. */
  start(): void {
    this.#running = keepGoing(this.#turn, { signal: this.#stop.signal, ...this.#options });
  }

  /** Aborts the signal of the current turn, and resolves when that has ended. Safe to call twice, and before `start`. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }
}
