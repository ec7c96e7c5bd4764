import type { Clock } from '../../core/base/clock.ts';
import { seconds } from '../../core/base/duration.ts';
import { toAgentError } from '../../core/base/errors.ts';
import { type Logger, logError } from '../../core/base/log.ts';
import type { Service } from '../../core/base/service.ts';

/** The longest wait: the hub must be notified even if the collectors don't become ready. */
const LONGEST_WAIT = seconds(20);

/**
 * Lets services begin when others are ready: what can wait must not take the processor from what can't. It is itself a
 * service, and must be listed after the services that start first.
 */
export class Later implements Service {
  readonly name = 'later';
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #ready = new AbortController();

  constructor({ clock, log }: { readonly clock: Clock; readonly log: Logger }) {
    this.#clock = clock;
    this.#log = log;
  }

  async start(): Promise<void> {
    this.#ready.abort();
  }

  async stop(): Promise<void> {}

  /**
   * The same service, which starts in the background: when the parts that go first are ready, at the latest after 20 s. Its
   * place in the list says when it is stopped.
   */
  service(inner: Service): Service {
    let starting: Promise<void> | undefined;
    const stopped = new AbortController();
    const begin = async () => {
      await this.#clock.sleep(LONGEST_WAIT, AbortSignal.any([this.#ready.signal, stopped.signal]));
      if (stopped.signal.aborted) return;
      try {
        await inner.start();
      } catch (error) {
        logError(this.#log, toAgentError(error));
      }
    };
    return {
      name: inner.name,
      async start() {
        starting ??= begin();
      },
      async stop() {
        stopped.abort();
        await starting;
        await inner.stop();
      },
    };
  }
}
