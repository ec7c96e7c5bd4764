import * as v from 'valibot';
import type { Clock } from '../../core/base/clock.ts';
import { type Duration, days, milliseconds, minutes } from '../../core/base/duration.ts';
import type { Logger, LogLine } from '../../core/base/log.ts';
import { Loop } from '../../core/base/loop.ts';
import type { Service } from '../../core/base/service.ts';
import { Alarm } from '../../core/base/waiting.ts';
import { readStateJson } from '../state/read-state.ts';
import type { StateFiles } from '../state/state-files.ts';

/**
 * Rate limit: this many changes are reported one by one; after that one notice per period, which merges the changes.
 */
const BURST = 20;
const PERIOD = minutes(5);
const LONG = days(1);
/** How many notices wait for the hub at a time. Later changes are merged until then. */
const MAX_WAITING = 20;
/** How often it is checked whether notices that wait have left their queue undelivered. */
const LOOK_EVERY = minutes(1);
/**
 * Limit for the text of all changes together, in bytes of JSON: with the names of all properties, a notice still fits into the
 * smallest cache that a twin can ask for.
 */
const LARGEST_TEXT = 2_048;

/** A change of the configuration, see config/changes.ts. */
interface Change {
  readonly time: Date;
  readonly desiredVersion: number;
  /** Keyed by property name. */
  readonly changes: Readonly<Record<string, string>>;
}

const Notice = v.object({
  time: v.pipe(v.string(), v.isoTimestamp()),
  desiredVersion: v.number(),
  /** Empty where there was no space for the text. */
  changes: v.record(v.string(), v.string()),
  /** How many changes it merges. */
  count: v.pipe(v.number(), v.safeInteger(), v.minValue(1)),
});
const SavedNotices = v.object({
  /** With its position in the High queue. */
  // One more at the end of a run.
  waiting: v.pipe(v.array(v.object({ ...Notice.entries, position: v.number() })), v.maxLength(MAX_WAITING + 1)),
  pending: v.optional(Notice),
});
type Notice = v.InferOutput<typeof Notice>;

/**
 * Announces each change of the configuration, until the hub has it. A twin that is changed all the time causes 20 events, and
 * then one every 5 minutes with the number of changes and the latest one of each property.
 *
 * The author of the twin also sets the size of the cache, and could displace the notice of a change by others. So
 * changes that the hub has not acknowledged are kept in a file, and those that left the queue undelivered are announced again,
 * merged.
 */
export class ChangeNotices implements Service {
  readonly name = 'change notices';
  readonly #announce: (line: LogLine) => number | undefined;
  readonly #isWaiting: (position: number) => boolean;
  readonly #file: string;
  readonly #files: StateFiles;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #alarm = new Alarm();
  #tokens = BURST;
  #refilledAt: Duration;
  /** In the queue, and not acknowledged. */
  #waiting: v.InferOutput<typeof SavedNotices>['waiting'] = [];
  #pending: Notice | undefined;
  readonly #loop: Loop;

  constructor(options: {
    /** Queues an event. @returns its position in the High queue; `undefined` when there was no space */
    announce: (line: LogLine) => number | undefined;
    /** Whether the event at a position of the High queue is still there. */
    isWaiting: (position: number) => boolean;
    /** Where notices are kept until the hub has them. */
    file: string;
    files: StateFiles;
    clock: Clock;
    log: Logger;
  }) {
    this.#announce = options.announce;
    this.#isWaiting = options.isWaiting;
    this.#file = options.file;
    this.#files = options.files;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#loop = new Loop((signal) => this.#turn(signal), options);
    this.#refilledAt = options.clock.monotonic();
  }

  /** Must be started after the queues, which it asks for the notices of earlier runs. */
  async start(): Promise<void> {
    this.#read();
    this.#loop.start();
  }

  /** Announces pending changes. */
  async stop(): Promise<void> {
    await this.#loop.stop();
    // More than one above the limit would not be read again; what is pending is saved, too.
    if (this.#pending !== undefined && this.#waiting.length <= MAX_WAITING) this.#announcePending();
  }

  accept({ time, desiredVersion, changes }: Change): void {
    this.#merge({ time: time.toISOString(), desiredVersion, changes, count: 1 });
    this.#refill();
    if (this.#mayTell()) this.#spend();
    else this.#save();
    this.#alarm.ring();
  }

  /** The hub has acknowledged the events at these positions of the High queue. */
  delivered(positions: ReadonlySet<number>): void {
    const left = this.#waiting.filter(({ position }) => !positions.has(position));
    if (left.length === this.#waiting.length) return;
    this.#waiting = left;
    this.#save();
    this.#alarm.ring();
  }

  async #turn(signal: AbortSignal): Promise<void> {
    this.#takeBackLost();
    this.#refill();
    if (this.#pending !== undefined && this.#mayTell()) this.#spend();
    const untilToken = this.#refilledAt + PERIOD - this.#clock.monotonic();
    const wait = this.#pending === undefined ? LONG : this.#tokens > 0 ? LOOK_EVERY : Math.max(0, untilToken);
    const left = this.#waiting.length === 0 ? wait : Math.min(wait, LOOK_EVERY);
    await this.#alarm.sleep(this.#clock, milliseconds(left), signal);
  }

  /** Does nothing while a notice still waits: the summary of the lost ones could displace it. */
  #takeBackLost(): void {
    if (this.#waiting.length === 0 || this.#waiting.some(({ position }) => this.#isWaiting(position))) return;
    const lost = this.#waiting.splice(0);
    const later = this.#pending;
    this.#pending = undefined;
    for (const { position: _position, ...notice } of lost) this.#merge(notice);
    if (later !== undefined) this.#merge(later);
  }

  #merge(notice: Notice): void {
    const { changes, count } = this.#pending ?? { changes: {}, count: 0 };
    this.#pending = { ...notice, changes: bounded({ ...changes, ...notice.changes }), count: count + notice.count };
  }

  #refill(): void {
    const periods = Math.floor((this.#clock.monotonic() - this.#refilledAt) / PERIOD);
    this.#refilledAt = milliseconds(this.#refilledAt + periods * PERIOD);
    this.#tokens = Math.min(BURST, this.#tokens + periods);
  }

  #mayTell(): boolean {
    return this.#tokens > 0 && this.#waiting.length < MAX_WAITING;
  }

  #spend(): void {
    this.#tokens -= 1;
    this.#announcePending();
  }

  #announcePending(): void {
    if (this.#pending === undefined) return;
    const notice = this.#pending;
    const { time, desiredVersion, changes, count } = notice;
    const namedChanges = Object.entries(changes).filter(([, text]) => text !== '');
    const isWhole = namedChanges.length === Object.keys(changes).length;
    const details = {
      Names: Object.keys(changes).join(';'),
      Changes: namedChanges.map(([name, text]) => `${name}: ${text}`).join('; ') + (isWhole ? '' : '; …'),
      DesiredVersion: String(desiredVersion),
      ...(count > 1 ? { Count: String(count) } : {}),
    };
    const line: LogLine = { time: new Date(time), level: 'info', message: 'Configuration changed', details };
    const position = this.#announce(line);
    if (position !== undefined) {
      this.#waiting.push({ ...notice, position });
      this.#pending = undefined;
    }
    this.#save();
  }

  /** The file is untrusted input, like everything on disk. */
  #read(): void {
    try {
      const kept = readStateJson(this.#file, (value) => v.parse(SavedNotices, value));
      if (kept === undefined) return;
      const { waiting, pending } = kept;
      const since = this.#pending; // a change of this run, which came before the start
      this.#waiting = waiting;
      this.#pending = pending;
      if (since !== undefined) this.#merge(since);
    } catch (err) {
      this.#log.warn({ err }, 'Failed to read the saved configuration changes; they may not be reported to the hub.');
    }
  }

  #save(): void {
    const failed = (err: unknown) => {
      if (err !== undefined)
        this.#log.warn(
          { err },
          'Failed to save a configuration change; after kill -9 it would not be reported to the hub.',
        );
    };
    if (this.#waiting.length === 0 && this.#pending === undefined) {
      this.#files.remove(this.#file, failed);
      return;
    }
    const kept: v.InferOutput<typeof SavedNotices> = {
      waiting: this.#waiting,
      ...(this.#pending && { pending: this.#pending }),
    };
    this.#files.replace(this.#file, JSON.stringify(kept), failed);
  }
}

/** Returns all names, and as many of the descriptions as fit. */
function bounded(changes: Readonly<Record<string, string>>): Record<string, string> {
  let left = LARGEST_TEXT;
  const texts = Object.entries(changes).map(([name, text]) => {
    left -= Buffer.byteLength(JSON.stringify(`${name}: ${text}; `));
    return [name, left < 0 ? '' : text] as const;
  });
  return Object.fromEntries(texts);
}
