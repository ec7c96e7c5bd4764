import * as v from 'valibot';
import { type Clock, elapsedOf, isPlausible } from '../../core/base/clock.ts';
import { type Duration, hours, milliseconds, minutes, seconds } from '../../core/base/duration.ts';
import type { Logger } from '../../core/base/log.ts';
import { Loop } from '../../core/base/loop.ts';
import type { Service } from '../../core/base/service.ts';
import { Alarm } from '../../core/base/waiting.ts';
import type { Collector } from '../../core/contract/collector.ts';
import { readStateJson } from '../state/read-state.ts';
import type { StateFiles } from '../state/state-files.ts';

export const LONGEST_PAUSE = hours(24);
/** In UTF-16 units. */
export const LONGEST_REASON = 256;
/** How often the end of a pause is looked for: timers do not know of a time in which the device was suspended. */
const LOOK_EVERY = minutes(1);
/** How long `begin` waits for the pause to be saved. */
const KEPT_WITHIN = seconds(5);

/** A pause, as the status reports it (contract §2). */
export interface PauseStatus {
  /** RFC 3339, UTC; calculated from the wall clock when the pause began. */
  readonly until: string;
  readonly reason: string;
  /** Events not collected because of the pause. */
  readonly skipped: number;
}

const SavedPause = v.object({
  until: v.pipe(v.string(), v.isoTimestamp()),
  durationMs: v.pipe(v.number(), v.minValue(1), v.maxValue(LONGEST_PAUSE)),
  reason: v.pipe(v.string(), v.maxLength(LONGEST_REASON)),
  skippedBefore: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
});
type SavedPause = v.InferOutput<typeof SavedPause>;

/**
 * Maintenance mode: for a limited time, Security events are counted but not collected. Operational and Diagnostic
 * events are still sent.
 *
 * The pause ends by itself: by the time that has elapsed while the agent runs, by the wall clock across a restart. If at the
 * restart the wall clock is not set, or shows a time before the beginning of the pause, the pause ends: the time left
 * is unknown, and resuming early is safer.
 */
export class Pause implements Service {
  readonly name = 'pause';
  readonly #file: string;
  readonly #skipped: () => number;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #files: StateFiles;
  readonly #changed: () => void;
  readonly #announce: (change: string) => void;
  readonly #alarm = new Alarm();
  readonly #loop: Loop;
  #current: (SavedPause & { readonly endsAt: Duration }) | undefined;

  constructor(options: {
    /** Where a pause is saved for a restart. */
    file: string;
    /** Total of skipped events, from the queues' accounts. */
    skipped: () => number;
    clock: Clock;
    log: Logger;
    /** Called when a pause has begun, changed or ended. */
    changed: () => void;
    /** Notifies the hub, regardless of the module twin's priorities. Not called for a pause that continues after a restart. */
    announce?: (change: string) => void;
    files: StateFiles;
  }) {
    this.#files = options.files;
    this.#file = options.file;
    this.#skipped = options.skipped;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#loop = new Loop((signal) => this.#turn(signal), options);
    this.#changed = options.changed;
    this.#announce = options.announce ?? (() => {});
  }

  /**
   * Resumes the pause of an earlier run. Must be started after the queues, whose accounts it reads, and before sources.
   */
  async start(): Promise<void> {
    this.#resume();
    this.#loop.start();
  }

  /** The pause stays saved for the next run. */
  async stop(): Promise<void> {
    await this.#loop.stop();
  }

  status(): PauseStatus | undefined {
    if (this.#current === undefined) return undefined;
    const { until, reason, skippedBefore } = this.#current;
    return { until, reason, skipped: Math.max(0, this.#skipped() - skippedBefore) };
  }

  /** Whether a collector's events are skipped now. */
  skips({ type }: Pick<Collector, 'type'>): boolean {
    return this.#current !== undefined && type === 'Security';
  }

  /**
   * Begins a pause, or gives the current one a new end and reason; its count of skipped events continues. The pause is
   * in force as soon as this function returns its promise.
   *
   * @param duration at most LONGEST_PAUSE
   * @returns whether the pause has been saved for a restart; `false` if that takes longer than five seconds
   */
  async begin(duration: Duration, reason: string): Promise<boolean> {
    const until = new Date(this.#clock.now().getTime() + duration).toISOString();
    const skippedBefore = this.#current?.skippedBefore ?? this.#skipped();
    const kept: SavedPause = { until, durationMs: duration, reason, skippedBefore };
    this.#announce(`${this.#current?.until ?? 'nothing'} to ${until} (${JSON.stringify(reason)})`);
    // Warnings are sent as Diagnostic events even during a pause, for consumers that do not read the twin.
    this.#log.warn({ until, why: reason }, 'Collection is paused; skipped events are counted.');
    this.#current = { ...kept, endsAt: milliseconds(elapsedOf(this.#clock) + duration) };
    const isKept = this.#keep(kept);
    this.#alarm.ring();
    this.#changed();
    return this.#clock.within(KEPT_WITHIN, 'Saving the pause', isKept).catch(() => false);
  }

  /** Ends the pause. @returns its last status; `undefined` when no pause was in force */
  end(): PauseStatus | undefined {
    const ended = this.status();
    if (ended === undefined) return undefined;
    this.#current = undefined;
    this.#forget();
    this.#announce(`${ended.until} to nothing (${ended.skipped} events were skipped)`);
    this.#log.warn({ skipped: ended.skipped }, 'The pause has ended; collection continues.');
    this.#changed();
    return ended;
  }

  async #turn(signal: AbortSignal): Promise<void> {
    if (this.#current === undefined) return this.#alarm.sleep(this.#clock, LONGEST_PAUSE, signal);
    const left = this.#current.endsAt - elapsedOf(this.#clock);
    if (left <= 0) this.end();
    else await this.#alarm.sleep(this.#clock, milliseconds(Math.min(left, LOOK_EVERY)), signal);
  }

  #resume(): void {
    const kept = this.#read();
    if (kept === undefined) return;
    const left = Date.parse(kept.until) - this.#clock.now().getTime();
    if (!isPlausible(this.#clock.now()) || left <= 0 || left > kept.durationMs) {
      this.#forget();
      return;
    }
    this.#current = { ...kept, endsAt: milliseconds(elapsedOf(this.#clock) + left) };
    this.#log.warn({ until: kept.until, why: kept.reason }, 'Collection is still paused; skipped events are counted.');
    this.#changed();
  }

  /** The file is untrusted input, like everything on disk: if it is invalid, there is no pause. */
  #read(): SavedPause | undefined {
    try {
      return readStateJson(this.#file, (value) => v.parse(SavedPause, value));
    } catch (error) {
      this.#log.warn({ err: error }, 'Could not read the saved pause; collection continues.');
      this.#forget();
      return undefined;
    }
  }

  #keep(kept: SavedPause): Promise<boolean> {
    return new Promise((resolve) => {
      this.#files.replace(this.#file, `${JSON.stringify(kept)}\n`, (error) => {
        if (error !== undefined)
          this.#log.warn({ err: error }, 'Could not save the pause; it ends when the agent exits.');
        resolve(error === undefined);
      });
    });
  }

  #forget(): void {
    this.#files.remove(this.#file, (error) => {
      if (error !== undefined) this.#log.warn({ err: error }, 'Could not delete the file of the ended pause.');
    });
  }
}
