import type { Clock } from '../../core/base/clock.ts';
import { seconds } from '../../core/base/duration.ts';
import type { Logger } from '../../core/base/log.ts';
import { Loop } from '../../core/base/loop.ts';
import type { Service } from '../../core/base/service.ts';
import { untilBeat } from '../../core/base/waiting.ts';
import type { HubStatus } from '../../core/contract/hub.ts';

/** Polled, because the wall clock can be set at any time; one long sleep until the expiry would miss that. */
const CHECK_EVERY = seconds(2);

/** Reports when `credential.expiresSoon` changes. No other event marks that moment. */
export class CredentialWatch implements Service {
  readonly name = 'credential watch';
  readonly #status: () => HubStatus;
  readonly #changed: () => void;
  readonly #clock: Clock;
  readonly #log: Logger;
  #expiresSoon = false;
  readonly #loop: Loop;

  constructor(options: {
    status: () => HubStatus;
    /** Called when `credential.expiresSoon` changed. */
    changed: () => void;
    clock: Clock;
    log: Logger;
  }) {
    this.#status = options.status;
    this.#changed = options.changed;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#loop = new Loop((signal) => this.#turn(signal), options);
  }

  async start(): Promise<void> {
    this.#loop.start();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
  }

  async #turn(signal: AbortSignal): Promise<void> {
    const { kind, expiresAt, expiresSoon = false } = this.#status().credential;
    if (expiresSoon !== this.#expiresSoon) {
      this.#expiresSoon = expiresSoon;
      this.#changed();
      if (expiresSoon) this.#log.warn({ kind, expiresAt }, 'The credential expires soon and was not renewed.');
    }
    await this.#clock.sleep(untilBeat(this.#clock, CHECK_EVERY), signal);
  }
}
