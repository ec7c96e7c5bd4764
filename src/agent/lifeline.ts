import type { Clock } from '../core/base/clock.ts';
import { LONG_AGO, milliseconds, minutes, seconds } from '../core/base/duration.ts';
import type { Logger } from '../core/base/log.ts';
import { keepGoing } from '../core/base/loop.ts';
import type { Service } from '../core/base/service.ts';
import { printable } from '../core/base/text.ts';
import { untilBeat } from '../core/base/waiting.ts';
import type { Moving } from '../core/base/watched-clock.ts';
import type { ServiceManager } from './linux/self/service-manager.ts';
import type { LocalStatus } from './status/schema.ts';

/**
 * A component whose loop has not turned for this long is hung. One turn may take minutes: sending 256 KB over a slow line,
 * or waiting for a failing disk.
 */
const HUNG_AFTER = minutes(10);

/** Maximum time between two signs of life, and from a changed state until the status line shows it. */
const LONGEST_PAUSE = seconds(10);
/** From one look at the counters in the status line to the next: the whole status is made for it, at a cost. */
const LOOK_EVERY = minutes(1);
/** The watchdog is notified this many times per timeout, so that late notifications do no harm. */
const PART_OF_WATCHDOG = 4;

const LONGEST_REASON = 200;

/**
 * Notifies the service manager: that the agent is ready, its status line, and the watchdog as long as no component is
 * hung. Without a service manager, a hung component is only logged.
 *
 * Starts last, when the collectors are ready, but does not wait for the hub. Stops first.
 */
export class Lifeline implements Service {
  readonly name = 'lifeline';
  readonly #manager: ServiceManager;
  readonly #moving: Readonly<Record<string, Moving>>;
  readonly #status: () => LocalStatus;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #stop = new AbortController();
  #loop: Promise<void> = Promise.resolve();
  /** Whether the manager has accepted READY. The agent repeats it until then: otherwise the manager would abort a successful start. */
  #isReady = false;
  #lastStatus: string | undefined;
  /** When the status is looked at next, by the monotonic clock. */
  #lookAt: number = LONG_AGO;
  /** The component found hung by the last check. One check is not enough: the whole process may have been stopped. */
  #suspected: string | undefined;
  #hung: string | undefined;

  constructor(options: {
    manager: ServiceManager;
    /** The loops that must not hang, by the name used in the log. */
    moving: Readonly<Record<string, Moving>>;
    status: () => LocalStatus;
    clock: Clock;
    log: Logger;
  }) {
    this.#manager = options.manager;
    this.#moving = options.moving;
    this.#status = options.status;
    this.#clock = options.clock;
    this.#log = options.log;
  }

  async start(): Promise<void> {
    const { signal } = this.#stop;
    const { watchdog } = this.#manager;
    const pause =
      watchdog === undefined ? LONGEST_PAUSE : milliseconds(Math.min(watchdog / PART_OF_WATCHDOG, LONGEST_PAUSE));
    const turn = async () => {
      this.#check();
      await this.#clock.sleep(untilBeat(this.#clock, pause), signal);
    };
    this.#loop = keepGoing(turn, { signal, clock: this.#clock, log: this.#log });
  }

  async stop(): Promise<void> {
    if (this.#stop.signal.aborted) return;
    this.#stop.abort();
    await this.#loop;
    this.#manager.notify('STOPPING=1', 'STATUS=Stopping: sends what it can in ten seconds.');
  }

  /** Call this when a state that the status line shows has changed. */
  changed(): void {
    this.#lookAt = LONG_AGO;
  }

  #check(): void {
    this.#isReady ||= this.#manager.notify('READY=1');
    const hung = this.#findHung();
    if (hung === undefined || hung !== this.#suspected) {
      this.#suspected = hung;
      this.#hung = undefined;
      this.#manager.notify('WATCHDOG=1');
    } else if (this.#hung === undefined) {
      this.#hung = hung;
      const hungForMinutes = HUNG_AFTER / minutes(1);
      this.#log.error({ part: hung, hungForMinutes }, 'Component hung; waiting for the watchdog restart.');
    }
    if (this.#hung !== undefined) {
      this.#lookAt = LONG_AGO;
      this.#show(`Hung: the part "${this.#hung}" has stopped; waiting for the watchdog restart.`);
    } else if (this.#manager.isAbsent !== true && this.#clock.monotonic() >= this.#lookAt) {
      this.#lookAt = this.#clock.monotonic() + LOOK_EVERY;
      this.#show(statusLine(this.#status()));
    }
  }

  #findHung(): string | undefined {
    const now = this.#clock.monotonic();
    return Object.keys(this.#moving).find((part) => now - (this.#moving[part]?.lastMoved() ?? now) > HUNG_AFTER);
  }

  #show(line: string): void {
    if (line === this.#lastStatus) return;
    if (this.#manager.notify(`STATUS=${line}`)) this.#lastStatus = line;
  }
}

const HUB: Readonly<Record<LocalStatus['hub']['state'], string>> = {
  connected: 'connected to the hub',
  connecting: 'not connected to the hub',
  refused: 'refused by the hub',
  stopped: 'disconnected',
};

/** `Running, connected to the hub; 12 events queued, 0 dropped.` */
export function statusLine({ state, hub, delivery, heldUp }: LocalStatus): string {
  const { highEvents, lowEvents } = delivery.queued;
  const dropped = Object.values(delivery.dropped).reduce((all, count) => all + count, 0);
  const why = hub.error === undefined ? '' : ` (${printable(hub.error).slice(0, LONGEST_REASON)})`;
  const word = state.charAt(0).toUpperCase() + state.slice(1);
  const stall = heldUp === undefined ? '' : ` Was ${heldUp.why} until ${heldUp.at}.`;
  return `${word}, ${HUB[hub.state]}${why}; ${highEvents + lowEvents} events queued, ${dropped} dropped.${stall}`;
}
