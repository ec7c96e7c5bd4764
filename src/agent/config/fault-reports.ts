import type { Clock } from '../../core/base/clock.ts';
import { days, minutes, seconds } from '../../core/base/duration.ts';
import type { Logger } from '../../core/base/log.ts';
import { Loop } from '../../core/base/loop.ts';
import type { Service } from '../../core/base/service.ts';
import { TokenBucket } from '../../core/base/token-bucket.ts';
import { Alarm } from '../../core/base/waiting.ts';
import type { ConfigurationFault } from '../../core/contract/streams.ts';

/** Faults that are reported without delay. */
const BURST = 200;
/** Faults per second after that: 20 in 5 minutes. */
const PER_SECOND = 20 / (minutes(5) / seconds(1));
const LONG = days(1);

/**
 * Announces the faults of each desired configuration, all at once. A twin that is changed all the time must not use up the
 * messages of a day, nor push other events out of the queues: then only the latest faults are reported, and seldom. Those that
 * they replace are in the log, and were never collected.
 */
export class FaultReports implements Service {
  readonly name = 'faults of the configuration';
  readonly #announce: (faults: readonly ConfigurationFault[]) => void;
  readonly #clock: Clock;
  readonly #bucket: TokenBucket;
  readonly #alarm = new Alarm();
  readonly #loop: Loop;
  #pending: readonly ConfigurationFault[] = [];

  constructor(options: { announce: (faults: readonly ConfigurationFault[]) => void; clock: Clock; log: Logger }) {
    this.#announce = options.announce;
    this.#clock = options.clock;
    this.#bucket = new TokenBucket({ max: BURST, perSecond: PER_SECOND, clock: options.clock });
    this.#loop = new Loop((signal) => this.#turn(signal), options);
  }

  async start(): Promise<void> {
    this.#loop.start();
  }

  /** Announces what waits. */
  async stop(): Promise<void> {
    await this.#loop.stop();
    this.#tell();
  }

  /** The faults of one desired configuration, or none. They replace those of an earlier one that wait. */
  accept(faults: readonly ConfigurationFault[]): void {
    this.#pending = faults;
    if (faults.length === 0 || this.#bucket.take(this.#cost)) this.#tell();
    else this.#alarm.ring();
  }

  async #turn(signal: AbortSignal): Promise<void> {
    if (this.#pending.length > 0 && this.#bucket.take(this.#cost)) this.#tell();
    const wait = this.#pending.length === 0 ? LONG : this.#bucket.wait(this.#cost);
    await this.#alarm.sleep(this.#clock, wait, signal);
  }

  get #cost(): number {
    return Math.min(this.#pending.length, BURST);
  }

  #tell(): void {
    const faults = this.#pending;
    this.#pending = [];
    if (faults.length > 0) this.#announce(faults);
  }
}
