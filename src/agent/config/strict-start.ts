import { type Clock, TimeLimitError } from '../../core/base/clock.ts';
import { minutes } from '../../core/base/duration.ts';
import { AgentError } from '../../core/base/errors.ts';
import type { Service } from '../../core/base/service.ts';

/** Time limit for reading the module twin. */
const LIMIT = minutes(1);

/**
 * With `strictStart`, the services after this one start only when the desired configuration is in force. If it is invalid,
 * or cannot be read within a minute, the run ends (contract §2, "Decision, start").
 */
export class StrictStart implements Service {
  readonly name = 'strict start';
  readonly #verdict: Promise<AgentError | undefined>;
  readonly #startBlocker: () => AgentError | undefined;
  readonly #clock: Clock;
  readonly #signal: AbortSignal;

  constructor(options: {
    /** Resolves with `undefined` once a desired configuration is in force, or with the error that refuses it. */
    verdict: Promise<AgentError | undefined>;
    /** Why the hub does not answer, if known. */
    startBlocker: () => AgentError | undefined;
    clock: Clock;
    /** The run is ending: ends the wait. */
    signal: AbortSignal;
  }) {
    this.#verdict = options.verdict;
    this.#startBlocker = options.startBlocker;
    this.#clock = options.clock;
    this.#signal = options.signal;
  }

  /** @throws {AgentError} TWIN_INVALID or TWIN_UNREADABLE */
  async start(): Promise<void> {
    const refusal = await this.#wait();
    if (refusal !== undefined) throw refusal;
  }

  async stop(): Promise<void> {}

  async #wait(): Promise<AgentError | undefined> {
    let giveUp = () => {};
    const ended = new Promise<undefined>((resolve) => {
      giveUp = () => resolve(undefined);
    });
    if (this.#signal.aborted) return undefined;
    this.#signal.addEventListener('abort', giveUp, { once: true });
    try {
      return await this.#clock.within(LIMIT, 'reading the module twin', Promise.race([this.#verdict, ended]));
    } catch (error) {
      if (!(error instanceof TimeLimitError)) throw error;
      const reason = this.#startBlocker()?.message ?? error.message;
      const remedy =
        'Let the agent reach its hub, or set strictStart to false to start with the last good configuration.';
      return new AgentError('TWIN_UNREADABLE', `the desired configuration cannot be read: ${reason}`, remedy);
    } finally {
      this.#signal.removeEventListener('abort', giveUp);
    }
  }
}
