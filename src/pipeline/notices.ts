import { Alarm } from '../base/alarm.ts';
import type { Clock } from '../base/clock.ts';
import { type Duration, days, milliseconds, minutes } from '../base/duration.ts';
import type { Logger, LogLine } from '../base/log.ts';
import { Loop } from '../base/loop.ts';
import type { Service } from '../base/service.ts';

/**
 * Rate limit: this many changes are reported one by one; after that one notice per period, which merges the changes.
 */
const BURST = 20;
const PERIOD = minutes(5);
const LONG = days(1);
/** Limit for the text of all changes together, in UTF-16 units. */
const LONGEST_TEXT = 2_048;

/** A change of the configuration, see config/changes.ts. */
interface Change {
  readonly time: Date;
  readonly desiredVersion: number;
  /** By property name. */
  readonly changes: Readonly<Record<string, string>>;
}

/**
 * Announces each change of the configuration. A twin that is changed all the time causes 20 events, and then one every
 * 5 minutes with the number of changes and the latest one of each property.
 */
export class ChangeNotices implements Service {
  readonly name = 'change notices';
  readonly #announce: (line: LogLine) => void;
  readonly #clock: Clock;
  readonly #alarm = new Alarm();
  #tokens = BURST;
  #refilledAt: Duration;
  #pending: Change | undefined;
  #count = 0;
  readonly #loop: Loop;

  constructor(options: { announce: (line: LogLine) => void; clock: Clock; log: Logger }) {
    this.#announce = options.announce;
    this.#clock = options.clock;
    this.#loop = new Loop((signal) => this.#turn(signal), options);
    this.#refilledAt = options.clock.monotonic();
  }

  async start(): Promise<void> {
    this.#loop.start();
  }

  /** Announces pending changes. */
  async stop(): Promise<void> {
    await this.#loop.stop();
    this.#announcePending();
  }

  accept(change: Change): void {
    this.#pending = { ...change, changes: { ...this.#pending?.changes, ...change.changes } };
    this.#count += 1;
    this.#refill();
    if (this.#tokens > 0) this.#spend();
    else this.#alarm.ring();
  }

  async #turn(signal: AbortSignal): Promise<void> {
    this.#refill();
    if (this.#pending !== undefined && this.#tokens > 0) this.#spend();
    const left = this.#pending === undefined ? LONG : this.#refilledAt + PERIOD - this.#clock.monotonic();
    await this.#alarm.sleep(this.#clock, milliseconds(Math.max(0, left)), signal);
  }

  #refill(): void {
    const periods = Math.floor((this.#clock.monotonic() - this.#refilledAt) / PERIOD);
    this.#refilledAt = milliseconds(this.#refilledAt + periods * PERIOD);
    this.#tokens = Math.min(BURST, this.#tokens + periods);
  }

  #spend(): void {
    this.#tokens -= 1;
    this.#announcePending();
  }

  #announcePending(): void {
    if (this.#pending === undefined) return;
    const { time, desiredVersion, changes } = this.#pending;
    const texts = Object.entries(changes).map(([name, change]) => `${name}: ${change}`);
    const details = {
      Names: Object.keys(changes).join(';'),
      Changes: bounded(texts.join('; ')),
      DesiredVersion: String(desiredVersion),
      ...(this.#count > 1 ? { Count: String(this.#count) } : {}),
    };
    this.#pending = undefined;
    this.#count = 0;
    this.#announce({ time, level: 'info', message: 'Configuration changed', details });
  }
}

const bounded = (text: string) => (text.length > LONGEST_TEXT ? `${text.slice(0, LONGEST_TEXT)}…` : text);
