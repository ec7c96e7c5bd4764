import { untilBeat } from '../base/beat.ts';
import { type Clock, EARLIEST, isPlausible } from '../base/clock.ts';
import { seconds } from '../base/duration.ts';
import type { Logger } from '../base/log.ts';
import { keepGoing } from '../base/loop.ts';
import type { Service } from '../base/service.ts';
import type { Envelope } from '../contract/event.ts';
import type { OutgoingEvent, QueuedEvent } from '../contract/store.ts';
import type { Aggregator } from './aggregator.ts';
import { localTime, type MARKS, timeIn } from './envelope.ts';
import type { EventQueues } from './queue.ts';
import { type Details, detailsOf, withDetails } from './row-details.ts';

/** How often it is looked whether the clock has been set. Nothing waits for that but what is said of it. */
const LOOK_EVERY = seconds(10);
/** Times of one spell say of the boot what differs by less. */
const SAME_SPELL = seconds(1);
/** A clock that is set again and again is one in trouble. */
const MOST_SPELLS = 8;

const EARLIEST_TEXT = EARLIEST.toISOString();

/**
 * What the ExtraDetails of an element say whose event was timed by a clock that was not set. With the boot, and when that
 * was by the same clock, the time can be corrected as long as the boot lasts; without, nobody can.
 */
type Mark = { readonly ClockNotSet: 'true' } & Partial<Readonly<Record<(typeof MARKS)[number], string>>>;
const UNKNOWN_BOOT = { ClockNotSet: 'true' } as const;
/** Found in an event that can be corrected, and never in what somebody else wrote: their quotes are escaped. */
const CORRECTABLE = '"ClockNotSet":"true","BootId":"';

type Use = 'put' | 'drop' | 'onPut' | 'waiting' | 'positions' | 'take' | 'settle';

/** A stretch of time by one unset clock. */
interface Spell {
  /** When the machine was booted, by that clock, in milliseconds since the epoch. */
  readonly bootedAt: number;
  readonly mark: Mark;
}

/**
 * Marks what is collected while the wall clock is not set, and corrects it when it is taken to be sent, if the clock was
 * set by then and in the same boot.
 *
 * The kernel's monotonic clock joins the two: a time of the unset clock is one that long after the boot, and when that
 * was is known as soon as the clock is set. It stands still while the machine sleeps; a machine that has no clock of its
 * own, but sleeps and wakes, would get times that are late by its sleep. A step from one plausible time to another leaves
 * what was collected as it was: nobody knows which of them was wrong.
 *
 * While the clock is set, all this costs is to compare the time of each event with `EARLIEST`.
 */
export class UnsetClock implements Service {
  readonly name = 'unset clock';
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #bootId: string;
  /** Oldest first. */
  readonly #spells: Spell[] = [];
  readonly #stop = new AbortController();
  readonly #startedAt: Date;
  #rightStart: Date | undefined;
  #isSet = true;
  #loop: Promise<void> = Promise.resolve();

  /** @param bootId /proc/sys/kernel/random/boot_id, or anything else that no other boot has */
  constructor({ clock, log, bootId }: { clock: Clock; log: Logger; bootId: string }) {
    this.#clock = clock;
    this.#log = log;
    this.#bootId = bootId;
    this.#startedAt = clock.now();
    if (!isPlausible(this.#startedAt)) this.#note();
  }

  async start(): Promise<void> {
    const turn = async (signal: AbortSignal) => {
      this.#look();
      await this.#clock.sleep(untilBeat(this.#clock, LOOK_EVERY), signal);
    };
    this.#loop = keepGoing(turn, { signal: this.#stop.signal, clock: this.#clock, log: this.#log });
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
  }

  /** When this was made: as the clock said, and once it is set, as it should have said. */
  get startedAt(): Date {
    if (isPlausible(this.#startedAt)) return this.#startedAt;
    if (this.#rightStart === undefined && isPlausible(this.#clock.now())) {
      const spell = this.#spellOf(this.#startedAt);
      this.#rightStart = spell && new Date(this.#startedAt.getTime() + this.#shiftOf(spell.bootedAt));
    }
    return this.#rightStart ?? this.#startedAt;
  }

  /** The aggregator, for what may have been timed by an unset clock: that is counted apart, see MARKS of envelope.ts. */
  before(aggregator: Pick<Aggregator, 'add'>): Pick<Aggregator, 'add'> {
    return {
      add: (collector, queue, payload, time) =>
        aggregator.add(collector, queue, isPlausible(time) ? payload : withDetails(payload, this.#markOf(time)), time),
    };
  }

  /** The queues, as seen by those who put events in or take them out. */
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
      settle: (...settled) => queues.settle(...settled),
    };
  }

  /** Takes note of how the clock stands, and says when that has changed. */
  #look(): void {
    const now = this.#clock.now();
    const isSet = isPlausible(now);
    if (!isSet) this.#note();
    if (isSet === this.#isSet) return;
    this.#isSet = isSet;
    if (isSet) this.#log.info({ now }, 'The clock is set; what waits is corrected.');
    else this.#log.warn({ now }, 'The clock is not set; events are marked, and corrected once it is.');
  }

  #note(): void {
    const bootedAt = this.#clock.fromKernel(0).getTime();
    const last = this.#spells.at(-1);
    if (last !== undefined && Math.abs(last.bootedAt - bootedAt) < SAME_SPELL) return;
    const mark = { ...UNKNOWN_BOOT, BootId: this.#bootId, BootTimeUtc: new Date(bootedAt).toISOString() };
    this.#spells.push({ bootedAt, mark });
    if (this.#spells.length > MOST_SPELLS) this.#spells.shift();
  }

  /** The spell that a time is from; none when it is from a boot before this one, or from a spell that nobody saw. */
  #spellOf(time: Date): Spell | undefined {
    if (!isPlausible(this.#clock.now())) this.#note();
    const uptime = this.#clock.now().getTime() - this.#clock.fromKernel(0).getTime();
    const since = (spell: Spell) => time.getTime() - spell.bootedAt;
    return this.#spells.findLast((spell) => since(spell) >= -SAME_SPELL && since(spell) <= uptime + SAME_SPELL);
  }

  #markOf(time: Date): Mark {
    return this.#spellOf(time)?.mark ?? UNKNOWN_BOOT;
  }

  /** Marks every element whose time is the event's; of those that have their own, the first, for the event. */
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

  /** @returns the same event with right times, if they can be known; never longer than it was */
  #corrected(event: QueuedEvent): QueuedEvent {
    if (!event.json.includes(CORRECTABLE) || !isPlausible(this.#clock.now())) return event;
    try {
      const json = this.#rewritten(JSON.parse(event.json) as Envelope);
      const jsonBytes = Buffer.byteLength(json);
      return jsonBytes <= event.jsonBytes ? { ...event, json, jsonBytes } : event;
    } catch {
      return event; // from a damaged disk
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

  /** What a time must be moved by that counts from when the machine was booted by an unset clock, in milliseconds. */
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

/** A time of an unset clock, put right. @returns `undefined` when there is none, or it is right already */
function moved(text: string | undefined, shift: number | undefined): Date | undefined {
  const time = new Date(text ?? Number.NaN);
  if (shift === undefined || Number.isNaN(time.getTime()) || isPlausible(time)) return undefined;
  return new Date(time.getTime() + shift);
}
