import { untilBeat } from './base/beat.ts';
import type { Clock } from './base/clock.ts';
import { milliseconds, minutes, seconds } from './base/duration.ts';
import type { Logger } from './base/log.ts';
import { keepGoing } from './base/loop.ts';
import { printable } from './base/printable.ts';
import type { Service } from './base/service.ts';
import type { Moving } from './base/watched-clock.ts';
import type { ServiceManager } from './linux/self/service-manager.ts';
import type { LocalStatus } from './status/schema.ts';

/** Longer than anything that a part does between two rests: a message of 256 KB on the slowest line, a disk that fails. */
const STANDS_STILL = minutes(10);

/** How often the status line is looked at, and the watchdog told at least: about so. */
const LONGEST_PAUSE = seconds(10);
/** Of the watchdog's time; it forgives three that come late. */
const PART_OF_WATCHDOG = 4;

const LONGEST_REASON = 200;

/**
 * Tells the service manager how the agent does: that it has started, in a line what it is doing, and, as long as all that
 * must move moves, that it lives. Without a service manager, what stands still is only logged.
 *
 * The last to start: by then collectors are ready. That the hub is out of reach is no reason to wait. The first to stop.
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
  #told: string | undefined;
  /** Found standing still at the last look. One look may come too early, right after the whole process was stopped. */
  #doubted: string | undefined;
  #lost: string | undefined;

  constructor(options: {
    manager: ServiceManager;
    /** What must move, by the name that the log gives it. */
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
    this.#manager.tell('READY=1');
    const { signal } = this.#stop;
    const { watchdog } = this.#manager;
    const pause =
      watchdog === undefined ? LONGEST_PAUSE : milliseconds(Math.min(watchdog / PART_OF_WATCHDOG, LONGEST_PAUSE));
    const turn = async () => {
      this.#look();
      await this.#clock.sleep(untilBeat(this.#clock, pause), signal);
    };
    this.#loop = keepGoing(turn, { signal, clock: this.#clock, log: this.#log });
  }

  async stop(): Promise<void> {
    if (this.#stop.signal.aborted) return;
    this.#stop.abort();
    await this.#loop;
    this.#manager.tell('STOPPING=1', 'STATUS=Stopping: sends what it can in ten seconds.');
  }

  #look(): void {
    const stands = this.#standsStill();
    if (stands === undefined || stands !== this.#doubted) {
      this.#doubted = stands;
      this.#lost = undefined;
      this.#manager.tell('WATCHDOG=1');
    } else if (this.#lost === undefined) {
      this.#lost = stands;
      const standsForMinutes = STANDS_STILL / minutes(1);
      this.#log.error({ part: stands, standsForMinutes }, 'Component hung; waiting for the watchdog restart.');
    }
    this.#say(this.#lost === undefined ? statusLine(this.#status()) : `Hung: the part "${this.#lost}" stands still.`);
  }

  #standsStill(): string | undefined {
    const now = this.#clock.monotonic();
    return Object.keys(this.#moving).find((part) => now - (this.#moving[part]?.lastMoved() ?? now) > STANDS_STILL);
  }

  #say(line: string): void {
    if (line === this.#told) return;
    this.#told = line;
    this.#manager.tell(`STATUS=${line}`);
  }
}

const HUB: Readonly<Record<LocalStatus['hub']['state'], string>> = {
  connected: 'connected to the hub',
  connecting: 'not connected to the hub',
  refused: 'refused by the hub',
  stopped: 'disconnected',
};

/** `Running, connected to the hub; 12 events queued, 0 lost.` */
export function statusLine({ state, hub, delivery, heldUp }: LocalStatus): string {
  const { highEvents, lowEvents } = delivery.queued;
  const lost = Object.values(delivery.dropped).reduce((all, count) => all + count, 0);
  const why = hub.error === undefined ? '' : ` (${printable(hub.error).slice(0, LONGEST_REASON)})`;
  const word = state.charAt(0).toUpperCase() + state.slice(1);
  const stall = heldUp === undefined ? '' : ` Was ${heldUp.why} until ${heldUp.at}.`;
  return `${word}, ${HUB[hub.state]}${why}; ${highEvents + lowEvents} events queued, ${lost} lost.${stall}`;
}
