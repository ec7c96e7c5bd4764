import { type Clock, elapsedOf } from './clock.ts';
import { type Duration, hours, milliseconds, minutes } from './duration.ts';
import type { AdjustableLevel, Logger, LogLevel } from './log.ts';
import { Loop } from './loop.ts';
import type { Service } from './service.ts';
import { Alarm } from './waiting.ts';

/** How often the end time is checked: timers do not count the time during which the device was suspended. */
const LOOK_EVERY = minutes(1);

/** A log level that replaces the local file's for a time. */
export interface ChangedLogLevel {
  readonly level: LogLevel;
  /** RFC 3339, UTC. */
  readonly until: string;
  /** The level of the local file, which applies again after that. */
  readonly afterwards: LogLevel;
}

/** Changes the log's level for a limited time, or until the agent restarts. */
export class TemporaryLogLevel implements Service {
  readonly name = 'log level';
  readonly #level: AdjustableLevel;
  readonly #normalLevel: LogLevel;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #alarm = new Alarm();
  #changed: (ChangedLogLevel & { readonly endsAt: Duration }) | undefined;
  readonly #loop: Loop;

  constructor({ level, clock, log }: { level: AdjustableLevel; clock: Clock; log: Logger }) {
    this.#level = level;
    this.#normalLevel = level.current;
    this.#clock = clock;
    this.#log = log;
    this.#loop = new Loop((signal) => this.#turn(signal), { clock, log });
  }

  async start(): Promise<void> {
    this.#loop.start();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
  }

  /** `undefined` while the level of the local file applies. */
  status(): ChangedLogLevel | undefined {
    if (this.#changed === undefined) return undefined;
    const { endsAt, ...changed } = this.#changed;
    return changed;
  }

  set(level: LogLevel, duration: Duration): ChangedLogLevel {
    const until = new Date(this.#clock.now().getTime() + duration).toISOString();
    const changed = { level, until, afterwards: this.#normalLevel };
    this.#changed = { ...changed, endsAt: milliseconds(elapsedOf(this.#clock) + duration) };
    this.#level.change(level);
    this.#log.warn({ to: level, until }, 'Changed the log level temporarily.');
    this.#alarm.ring();
    return changed;
  }

  async #turn(signal: AbortSignal): Promise<void> {
    if (this.#changed === undefined) return this.#alarm.sleep(this.#clock, hours(24), signal);
    const left = this.#changed.endsAt - elapsedOf(this.#clock);
    if (left > 0) return this.#alarm.sleep(this.#clock, milliseconds(Math.min(left, LOOK_EVERY)), signal);
    this.#changed = undefined;
    this.#level.change(this.#normalLevel);
    this.#log.info({ to: this.#normalLevel }, 'Restored the log level.');
  }
}
