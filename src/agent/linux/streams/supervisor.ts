import type { Clock } from '../../../core/base/clock.ts';
import { minutes } from '../../../core/base/duration.ts';
import { Lane } from '../../../core/base/lane.ts';
import type { Logger } from '../../../core/base/log.ts';
import { Loop } from '../../../core/base/loop.ts';
import type { SourceStatus } from '../../../core/contract/sources.ts';

/** Interval of attempts to open a source that is not available, or a better one. */
const RETRY_EVERY = minutes(1);

interface Parts {
  readonly clock: Clock;
  readonly log: Logger;
  /** Tries to open what isn't available; a change like those of `run`. */
  readonly retry: () => Promise<void>;
  /** The status of the feed that the wanted sources need. */
  readonly status: () => SourceStatus;
  /** Called when that status has changed. */
  readonly changed: () => void;
}

/** Changes feeds and sources one at a time, retries every minute, and announces each new status of the feed. */
export class SourceSupervisor {
  readonly #parts: Parts;
  readonly #changes = new Lane();
  #retries: Loop | undefined;
  /** The status that was announced last, as JSON. */
  #announced = '';

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Whether retries are made: from `start` to `stop`. */
  get isRunning(): boolean {
    return this.#retries !== undefined;
  }

  /** Does nothing while it runs. */
  start(): void {
    if (this.#retries !== undefined) return;
    const { clock, log, retry } = this.#parts;
    const turn = async (signal: AbortSignal) => {
      await clock.sleep(RETRY_EVERY, signal);
      if (!signal.aborted) await this.run(retry);
    };
    this.#retries = new Loop(turn, { clock, log });
    this.#retries.start();
  }

  /** Ends the retries; later changes are still made. Safe to call twice. */
  async stop(): Promise<void> {
    const retries = this.#retries;
    this.#retries = undefined;
    await retries?.stop();
  }

  /** Makes a change after all earlier ones. Never rejects. */
  async run(change: () => Promise<void>): Promise<void> {
    const { log } = this.#parts;
    await this.#changes
      .run(change)
      .catch((err: unknown) => log.error({ err }, 'Could not change the sources of events.'));
  }

  /** Call this when the feed's status may have changed. */
  announce(): void {
    const { log, changed } = this.#parts;
    const status = this.#parts.status();
    const text = JSON.stringify(status);
    if (text === this.#announced) return;
    this.#announced = text;
    if (status.state === 'degraded' || status.state === 'unavailable') log.warn(status, 'Events are incomplete.');
    else log.info(status, 'The source of events has changed.');
    changed();
  }
}
