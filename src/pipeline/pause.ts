import * as v from 'valibot';
import { Alarm } from '../base/alarm.ts';
import { readFileIfThere } from '../base/atomic-file.ts';
import type { Clock } from '../base/clock.ts';
import { type Duration, hours, milliseconds, seconds } from '../base/duration.ts';
import type { Logger } from '../base/log.ts';
import { keepGoing } from '../base/loop.ts';
import type { Service } from '../base/service.ts';
import { immediateStateFiles, type StateFiles } from '../base/state-files.ts';
import type { Collector } from '../contract/collector.ts';

export const LONGEST_PAUSE = hours(24);
/** In UTF-16 units. */
export const LONGEST_REASON = 256;
const LARGEST_FILE = 4_096;
/** Whoever begins a pause waits so long to hear whether it is on disk. */
const KEPT_WITHIN = seconds(5);

/** What the status says of a pause (contract §2). */
export interface PauseStatus {
  /** RFC 3339, UTC; as the wall clock stood when it began. */
  readonly until: string;
  readonly reason: string;
  /** Events that were not collected on account of it. */
  readonly skipped: number;
}

const Kept = v.object({
  until: v.pipe(v.string(), v.isoTimestamp()),
  durationMs: v.pipe(v.number(), v.minValue(1), v.maxValue(LONGEST_PAUSE)),
  reason: v.pipe(v.string(), v.maxLength(LONGEST_REASON)),
  skippedBefore: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
});
type Kept = v.InferOutput<typeof Kept>;

/**
 * Maintenance: for a while, events of type Security are counted and not collected. What the agent says of itself goes on.
 *
 * It ends by itself: by the monotonic clock while the agent runs, by the wall clock over a restart. A wall clock that has
 * gone back behind the beginning of the pause, or was not set at boot, ends it at the restart: it can't say how long is
 * left, and a guard rather wakes too early.
 */
export class Pause implements Service {
  readonly name = 'pause';
  readonly #file: string;
  readonly #skipped: () => number;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #files: StateFiles;
  readonly #changed: () => void;
  readonly #alarm = new Alarm();
  readonly #stop = new AbortController();
  #loop: Promise<void> = Promise.resolve();
  #current: (Kept & { readonly endsAt: Duration }) | undefined;

  constructor(options: {
    /** Where a pause is kept over a restart. */
    file: string;
    /** Events that have ever been skipped, by the books. */
    skipped: () => number;
    clock: Clock;
    log: Logger;
    /** Told when a pause has begun, changed or ended. */
    changed: () => void;
    files?: StateFiles;
  }) {
    this.#files = options.files ?? immediateStateFiles;
    this.#file = options.file;
    this.#skipped = options.skipped;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#changed = options.changed;
  }

  /** Takes up the pause of an earlier run. To be started after the queues, whose books it reads, and before any source. */
  async start(): Promise<void> {
    this.#takeUp();
    const { signal } = this.#stop;
    this.#loop = keepGoing((turnSignal) => this.#turn(turnSignal), { signal, clock: this.#clock, log: this.#log });
  }

  /** A pause stays for the next run. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
  }

  status(): PauseStatus | undefined {
    if (this.#current === undefined) return undefined;
    const { until, reason, skippedBefore } = this.#current;
    return { until, reason, skipped: Math.max(0, this.#skipped() - skippedBefore) };
  }

  /** Whether the events of a collector are skipped now. */
  skips({ type }: Pick<Collector, 'type'>): boolean {
    return this.#current !== undefined && type === 'Security';
  }

  /**
   * Begins a pause, or gives the present one another end and reason; what that has skipped stays counted.
   *
   * @param duration at most LONGEST_PAUSE
   * In force when this returns its promise.
   *
   * @returns whether it will outlast a restart of the agent, as far as that is known after five seconds
   */
  async begin(duration: Duration, reason: string): Promise<boolean> {
    const until = new Date(this.#clock.now().getTime() + duration).toISOString();
    const skippedBefore = this.#current?.skippedBefore ?? this.#skipped();
    const kept: Kept = { until, durationMs: duration, reason, skippedBefore };
    // A warning becomes an event, which goes out all the same, and tells whoever reads events but not the twin.
    this.#log.warn({ until, why: reason }, 'Collecting is paused; what is skipped is counted.');
    this.#current = { ...kept, endsAt: milliseconds(this.#clock.monotonic() + duration) };
    const isKept = this.#keep(kept);
    this.#alarm.ring();
    this.#changed();
    return this.#clock.within(KEPT_WITHIN, 'Writing the pause down', isKept).catch(() => false);
  }

  /** Ends the pause. @returns how it stood, or nothing when there was none */
  end(): PauseStatus | undefined {
    const ended = this.status();
    if (ended === undefined) return undefined;
    this.#current = undefined;
    this.#forget();
    this.#log.warn({ skipped: ended.skipped }, 'Collecting goes on; the pause has ended.');
    this.#changed();
    return ended;
  }

  async #turn(signal: AbortSignal): Promise<void> {
    const left = this.#current === undefined ? LONGEST_PAUSE : this.#current.endsAt - this.#clock.monotonic();
    if (left <= 0) this.end();
    else await this.#alarm.sleep(this.#clock, milliseconds(left), signal);
  }

  #takeUp(): void {
    const kept = this.#read();
    if (kept === undefined) return;
    const left = Date.parse(kept.until) - this.#clock.now().getTime();
    if (left <= 0 || left > kept.durationMs) {
      this.#forget();
      return;
    }
    this.#current = { ...kept, endsAt: milliseconds(this.#clock.monotonic() + left) };
    this.#log.warn({ until: kept.until, why: kept.reason }, 'Collecting is still paused; what is skipped is counted.');
    this.#changed();
  }

  /** The file is hostile input, as everything on disk; what doesn't fit is no pause. */
  #read(): Kept | undefined {
    try {
      const text = readFileIfThere(this.#file);
      if (text === undefined) return undefined;
      if (text.length > LARGEST_FILE) throw new RangeError(`it has ${text.length} characters`);
      return v.parse(Kept, JSON.parse(text));
    } catch (error) {
      this.#log.warn({ err: error }, 'Could not read the file of a pause; collecting goes on.');
      this.#forget();
      return undefined;
    }
  }

  #keep(kept: Kept): Promise<boolean> {
    return new Promise((resolve) => {
      this.#files.replace(
        this.#file,
        `${JSON.stringify(kept)}
`,
        (error) => {
          if (error !== undefined)
            this.#log.warn({ err: error }, 'Could not keep the pause on disk; it ends with the agent.');
          resolve(error === undefined);
        },
      );
    });
  }

  #forget(): void {
    this.#files.remove(this.#file, (error) => {
      if (error !== undefined) this.#log.warn({ err: error }, 'Could not remove the file of a pause that has ended.');
    });
  }
}
