import type { Clock } from '../../../core/base/clock.ts';
import { type Duration, hours, milliseconds, minutes } from '../../../core/base/duration.ts';
import { messageOf } from '../../../core/base/errors.ts';
import type { Logger } from '../../../core/base/log.ts';
import { Loop } from '../../../core/base/loop.ts';
import type { Service } from '../../../core/base/service.ts';
import { Alarm } from '../../../core/base/waiting.ts';
import { readStateJson } from '../../state/read-state.ts';
import type { StateFiles } from '../../state/state-files.ts';

/** A part of the detections that continues after a restart. */
export interface Continued {
  toJson(): unknown;
  /** Must not throw for any value: the file is untrusted input, like everything on disk. */
  restore(value: unknown): void;
}

/** Minimum interval between two writes, apart from the one at the stop; `store.syncEvery` if that is longer. */
const INTERVAL = minutes(1);
const LONGEST_SLEEP = hours(1);

/** Number of checks per interval whether the events have been synced. */
const LOOKS = 240;
/** Time limit at the stop for syncing the events that the state refers to. */
const LAST_WAIT = milliseconds(500);

/**
 * A file with the state of several parts, as JSON keyed by the part's name. `kill -9` loses the changes of the last interval:
 * counts, but no alert, because an alert is queued when it is raised.
 *
 * The state is never on disk before the events that were queued when it was taken. Otherwise it would count further hits for an
 * alert that was lost.
 */
export class SavedState implements Service {
  readonly name = 'detection state';
  readonly #file: string;
  readonly #files: StateFiles;
  readonly #parts: Readonly<Record<string, Continued>>;
  readonly #whenLasting: () => () => boolean;
  readonly #interval: Duration;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #alarm = new Alarm();
  readonly #loop: Loop;
  #hasChanged = false;
  #savedAt: Duration | undefined;
  #isFailing = false;

  constructor(options: {
    file: string;
    files: StateFiles;
    parts: Readonly<Record<string, Continued>>;
    /** @returns a function that returns whether the events queued now would survive kill -9 and a power cut */
    whenLasting: () => () => boolean;
    /** How long changes may be delayed to spare the disk, if that is longer than a minute. */
    saveEvery?: Duration;
    clock: Clock;
    log: Logger;
  }) {
    this.#file = options.file;
    this.#files = options.files;
    this.#parts = options.parts;
    this.#whenLasting = options.whenLasting;
    this.#interval = milliseconds(Math.max(INTERVAL, options.saveEvery ?? 0));
    this.#clock = options.clock;
    this.#log = options.log;
    this.#loop = new Loop((signal) => this.#turn(signal), options);
  }

  /** Restores the parts. Without a usable file they start empty. */
  async start(): Promise<void> {
    const saved = this.#read();
    for (const [name, part] of Object.entries(this.#parts)) part.restore(saved[name]);
    this.#loop.start();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
    if (!this.#hasChanged) return;
    const limit = new AbortController();
    const done = new AbortController();
    void this.#clock.sleep(LAST_WAIT, done.signal).then(() => limit.abort());
    const isSaved = await this.#save(limit.signal);
    done.abort();
    if (!isSaved) this.#write(this.#state()); // the queues still write their events
  }

  /** Call this when a part has changed; it is cheap. */
  changed(): void {
    if (this.#hasChanged) return;
    this.#hasChanged = true;
    this.#alarm.ring();
  }

  async #turn(signal: AbortSignal): Promise<void> {
    const left = this.#savedAt === undefined ? 0 : this.#savedAt + this.#interval - this.#clock.monotonic();
    if (!this.#hasChanged) await this.#alarm.sleep(this.#clock, LONGEST_SLEEP, signal);
    else if (left > 0) await this.#clock.sleep(milliseconds(left), signal);
    else await this.#save(signal);
  }

  /** @returns whether the state was written; if not, it still has to be saved */
  async #save(signal: AbortSignal): Promise<boolean> {
    const state = this.#state();
    const isLasting = this.#whenLasting();
    while (!isLasting()) {
      await this.#clock.sleep(milliseconds(this.#interval / LOOKS), signal);
      if (!signal.aborted) continue;
      this.#hasChanged = true;
      return false;
    }
    this.#savedAt = this.#clock.monotonic();
    this.#write(state);
    return true;
  }

  /** The current state, including all changes until now. */
  #state(): string {
    this.#hasChanged = false;
    const parts = Object.entries(this.#parts).map(([name, part]) => [name, part.toJson()] as const);
    return JSON.stringify(Object.fromEntries(parts));
  }

  #write(state: string): void {
    this.#files.replace(this.#file, state, (error) => {
      if (error !== undefined && !this.#isFailing) {
        this.#log.warn({ err: error }, 'Failed to save the detection state; it is lost at the next restart.');
      }
      this.#isFailing = error !== undefined;
    });
  }

  #read(): Readonly<Record<string, unknown>> {
    try {
      const value = readStateJson(this.#file, (found) => found);
      return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
    } catch (error) {
      this.#log.warn(
        { why: messageOf(error) },
        'Failed to read the saved detection state; starting with an empty state.',
      );
      return {};
    }
  }
}
