import type { Clock } from '../../../core/base/clock.ts';
import { hours, milliseconds } from '../../../core/base/duration.ts';
import type { Logger } from '../../../core/base/log.ts';
import { Loop } from '../../../core/base/loop.ts';
import type { Service } from '../../../core/base/service.ts';
import { Alarm } from '../../../core/base/waiting.ts';
import type { Alerts } from './alerts.ts';

/** Nothing that starts during this sleep is due within it, except an early message, which rings the alarm. */
const LONGEST_SLEEP = hours(1);

/** Sends updates and summaries when they are due. */
export class AlertTimes implements Service {
  readonly name = 'alert updates';
  readonly #alerts: Pick<Alerts, 'tick'>;
  readonly #clock: Clock;
  readonly #alarm = new Alarm();
  readonly #loop: Loop;

  constructor(options: { alerts: Pick<Alerts, 'tick'>; clock: Clock; log: Logger }) {
    this.#alerts = options.alerts;
    this.#clock = options.clock;
    this.#loop = new Loop((signal) => this.#turn(signal), options);
  }

  async start(): Promise<void> {
    this.#loop.start();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
  }

  /** Call this when something may be due earlier than expected; see `Alerts`, `dueEarlier`. */
  ring(): void {
    this.#alarm.ring();
  }

  async #turn(signal: AbortSignal): Promise<void> {
    const due = this.#alerts.tick();
    const left = due === undefined ? LONGEST_SLEEP : Math.min(LONGEST_SLEEP, due - this.#clock.monotonic());
    await this.#alarm.sleep(this.#clock, milliseconds(Math.max(1, left)), signal);
  }
}
