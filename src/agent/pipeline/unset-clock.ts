import { type Clock, EARLIEST, isPlausible } from '../../core/base/clock.ts';
import { seconds } from '../../core/base/duration.ts';
import type { Logger } from '../../core/base/log.ts';
import { Loop } from '../../core/base/loop.ts';
import type { Service } from '../../core/base/service.ts';
import { untilBeat } from '../../core/base/waiting.ts';
import type { Envelope } from '../../core/contract/event.ts';
import type { OutgoingEvent, QueuedEvent } from '../../core/contract/store.ts';
import type { Aggregator } from './aggregator.ts';
import { localTime, type MARKS, timeIn } from './envelope.ts';
import type { EventQueues } from './queue.ts';
import { type Details, detailsOf, withDetails } from './row-details.ts';

/** Interval of checking whether the clock has been set. Only the state and the log line depend on it. */
const LOOK_EVERY = seconds(10);
/** Maximum difference of the boot times calculated within one spell. */
const SAME_SPELL = seconds(1);
/** Maximum number of spells kept; the oldest is dropped. */
const MAX_SPELLS = 8;

const EARLIEST_TEXT = EARLIEST.toISOString();

/**
 * The ExtraDetails of an element whose time is from an unset clock. With the boot's id, and its time by the same clock,
 * the time can be corrected until the machine is rebooted; without them it cannot.
 */
type Mark = { readonly ClockNotSet: 'true' } & Partial<Readonly<Record<(typeof MARKS)[number], string>>>;
const UNKNOWN_BOOT = { ClockNotSet: 'true' } as const;
/** Text of an event that can be corrected. It cannot be faked in collected text, where quotes are escaped. */
const CORRECTABLE = '"ClockNotSet":"true","BootId":"';

type Use = 'put' | 'drop' | 'onPut' | 'waiting' | 'positions' | 'take' | 'hasTaken' | 'settle';

/** A period in which the clock is unset and is not stepped. */
interface Spell {
  /** The boot's time by that clock, in milliseconds since the epoch. */
  readonly bootedAt: number;
  readonly mark: Mark;
}

/**
 * Marks events collected while the wall clock is not set, and corrects them when they are taken to be sent, if the clock
 * has been set by then in the same boot.
 *
 * Times of the unset clock are converted to times since the boot, by the kernel's monotonic clock. The real time of the
 * boot is known as soon as the clock is set. The monotonic clock stops while the machine is suspended: on a machine
 * without a real-time clock that suspends, corrected times are late by the time of suspension. After a step between two
 * plausible times events are not corrected, because it is unknown which time was wrong.
 *
 * While the clock is set, the only cost is comparing the time of each event with `EARLIEST`.
 */
export class UnsetClock implements Service {
  readonly name = 'unset clock';
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #bootId: string;
  /** Oldest first. */
  readonly #spells: Spell[] = [];
  readonly #startedAt: Date;
  #rightStart: Date | undefined;
  #isSet = true;
  readonly #loop: Loop;

  /** @param bootId /proc/sys/kernel/random/boot_id, or another text that is unique to this boot */
  constructor({ clock, log, bootId }: { clock: Clock; log: Logger; bootId: string }) {
    this.#clock = clock;
    this.#log = log;
    this.#loop = new Loop(
      async (signal) => {
        this.#look();
        await this.#clock.sleep(untilBeat(this.#clock, LOOK_EVERY), signal);
      },
      { clock, log },
    );
    this.#bootId = bootId;
    this.#startedAt = clock.now();
    if (!isPlausible(this.#startedAt)) this.#note();
  }

  async start(): Promise<void> {
    this.#loop.start();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
  }

  /** The time at which this object was made: by the unset clock; once the clock is set, the corrected time. */
  get startedAt(): Date {
    if (isPlausible(this.#startedAt)) return this.#startedAt;
    if (this.#rightStart === undefined && isPlausible(this.#clock.now())) {
      const spell = this.#spellOf(this.#startedAt);
      this.#rightStart = spell && new Date(this.#startedAt.getTime() + this.#shiftOf(spell.bootedAt));
    }
    return this.#rightStart ?? this.#startedAt;
  }

  /** The aggregator, with marking. Elements timed by an unset clock are counted apart, see MARKS of envelope.ts. */
  before(aggregator: Pick<Aggregator, 'add'>): Pick<Aggregator, 'add'> {
    return {
      add: (collector, queue, payload, time) =>
        aggregator.add(collector, queue, isPlausible(time) ? payload : withDetails(payload, this.#markOf(time)), time),
    };
  }

  /** The queues with marking of the events put, and correction of the events taken. */
  around(queues: Pick<EventQueues, Use>): Pick<EventQueues, Use> {
    return {
      put: (queue, events) =>
        queues.put(
          queue,
          events.map((event) => this.#marked(event)),
        ),
      drop: (...dropped) => queues.drop(...dropped),
      onPut: (listener) => queues.onPut(listener),
      waiting: (queue) => queues.waiting(queue),
      positions: (queue) => queues.positions(queue),
      take: (...wanted) => queues.take(...wanted).map((event) => this.#corrected(event)),
      hasTaken: (queue) => queues.hasTaken(queue),
      settle: (...settled) => queues.settle(...settled),
    };
  }

  /** Checks whether the clock is set, and logs a change. */
  #look(): void {
    const now = this.#clock.now();
    const isSet = isPlausible(now);
    if (!isSet) this.#note();
    if (isSet === this.#isSet) return;
    this.#isSet = isSet;
    if (isSet) this.#log.info({ now }, 'The clock is set; queued events are corrected.');
    else this.#log.warn({ now }, 'The clock is not set; events are marked, and corrected once it is.');
  }

  #note(): void {
    const bootedAt = this.#clock.fromKernel(0).getTime();
    const last = this.#spells.at(-1);
    if (last !== undefined && Math.abs(last.bootedAt - bootedAt) < SAME_SPELL) return;
    const mark = { ...UNKNOWN_BOOT, BootId: this.#bootId, BootTimeUtc: new Date(bootedAt).toISOString() };
    this.#spells.push({ bootedAt, mark });
    if (this.#spells.length > MAX_SPELLS) this.#spells.shift();
  }

  /** The spell of a time; `undefined` if it is from an earlier boot, or from a spell that was not observed. */
  #spellOf(time: Date): Spell | undefined {
    if (!isPlausible(this.#clock.now())) this.#note();
    const uptime = this.#clock.now().getTime() - this.#clock.fromKernel(0).getTime();
    const since = (spell: Spell) => time.getTime() - spell.bootedAt;
    return this.#spells.findLast((spell) => since(spell) >= -SAME_SPELL && since(spell) <= uptime + SAME_SPELL);
  }

  #markOf(time: Date): Mark {
    return this.#spellOf(time)?.mark ?? UNKNOWN_BOOT;
  }

  /** Marks elements without a time of their own; if all have one, marks the first, for the time of the event. */
  #marked(event: OutgoingEvent): OutgoingEvent {
    const time = timeIn(event.json);
    if (time === undefined || time >= EARLIEST_TEXT) return event;
    const envelope = JSON.parse(event.json) as Envelope;
    const mark = this.#markOf(new Date(time));
    const isMarked = envelope.Payload.some((element) => detailsOf(element).ClockNotSet !== undefined);
    const elements = envelope.Payload.map((element, index) => {
      const { ClockNotSet, StartTimeUtc } = detailsOf(element);
      const hasItsOwnTime = StartTimeUtc !== undefined && (isMarked || index > 0);
      return ClockNotSet !== undefined || hasItsOwnTime ? element : withDetails(element, mark);
    });
    return { ...event, json: JSON.stringify({ ...envelope, Payload: elements }) };
  }

  /** @returns the event with corrected times, if they can be calculated; never longer than before */
  #corrected(event: QueuedEvent): QueuedEvent {
    if (!event.json.includes(CORRECTABLE) || !isPlausible(this.#clock.now())) return event;
    try {
      const json = this.#rewritten(JSON.parse(event.json) as Envelope);
      const jsonBytes = Buffer.byteLength(json);
      return jsonBytes <= event.jsonBytes ? { ...event, json, jsonBytes } : event;
    } catch {
      return event; // damaged on disk
    }
  }

  #rewritten(envelope: Envelope): string {
    let ofEvent: number | undefined;
    const elements = envelope.Payload.map((element) => {
      const { BootId, BootTimeUtc, ...details } = detailsOf(element);
      const shift = this.#shiftOf(Date.parse(BootTimeUtc ?? ''));
      if (details.ClockNotSet === undefined || BootId !== this.#bootId || !Number.isFinite(shift)) return element;
      ofEvent = shift;
      const TimeCorrectedBySeconds = String(shift / 1_000);
      return { ...element, ExtraDetails: { ...details, ...windowMoved(details, shift), TimeCorrectedBySeconds } };
    });
    const time = moved(envelope.TimestampUTC, ofEvent);
    const times = time === undefined ? {} : { TimestampLocal: localTime(time), TimestampUTC: time.toISOString() };
    return JSON.stringify({ ...envelope, ...times, Payload: elements });
  }

  /** Milliseconds by which times of an unset clock are moved, from the boot's time by that clock. */
  #shiftOf(bootedAt: number): number {
    return this.#clock.fromKernel(0).getTime() - bootedAt;
  }
}

/** The first and the last time of an aggregated element. */
function windowMoved(details: Details, shift: number): Details {
  const result: Record<string, string> = {};
  for (const name of ['StartTime', 'EndTime']) {
    const time = moved(details[`${name}Utc`], shift);
    if (time === undefined) continue;
    result[`${name}Utc`] = time.toISOString();
    result[`${name}Local`] = localTime(time);
  }
  return result;
}

/** A corrected time. @returns `undefined` if there is no time, or it needs no correction */
function moved(text: string | undefined, shift: number | undefined): Date | undefined {
  const time = new Date(text ?? Number.NaN);
  if (shift === undefined || Number.isNaN(time.getTime()) || isPlausible(time)) return undefined;
  return new Date(time.getTime() + shift);
}
