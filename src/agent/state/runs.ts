import * as v from 'valibot';
import type { Clock } from '../../core/base/clock.ts';
import { seconds } from '../../core/base/duration.ts';
import type { Logger } from '../../core/base/log.ts';
import type { Service } from '../../core/base/service.ts';
import { readStateJson } from './read-state.ts';
import type { StateFiles } from './state-files.ts';

/**
 * How a run of the agent can have ended. `stopped`: on request. `failed`: by an error, which it logged. `killed`: by a
 * crash, kill -9, the OOM killer or the watchdog. `poweredOff`: the machine lost power, or was shut down before the
 * agent could record its stop.
 */
const ENDS = ['stopped', 'failed', 'killed', 'poweredOff'] as const;
type End = (typeof ENDS)[number];

/** Earlier runs, for the status. */
export interface Restarts {
  /** Runs that failed or were killed since the last one that was stopped. */
  readonly unclean: number;
  /** When the first of these began; absent when `unclean` is 0. RFC 3339, UTC. */
  readonly since?: string;
  /** How the last run ended; absent when no earlier run is known. */
  readonly lastEnd?: End;
}

/** A disk that hangs must not prevent the agent from starting. */
const RECORD_LIMIT = seconds(5);

const SavedRuns = v.object({
  startedAt: v.pipe(v.string(), v.isoTimestamp()),
  bootId: v.optional(v.pipe(v.string(), v.maxLength(64))),
  end: v.optional(v.picklist(ENDS)),
  unclean: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  since: v.optional(v.pipe(v.string(), v.isoTimestamp())),
});
type SavedRuns = v.InferOutput<typeof SavedRuns>;

/**
 * Records how runs of the agent end, so that a run can report that earlier ones failed: a small file about the last
 * run, with the number of unexpected exits since the last requested stop.
 *
 * A power cut does not indicate a fault of the agent: it is not counted and does not reset the count.
 */
export class Runs implements Service {
  readonly name = 'runs';
  /**
   * Logs how the last run ended. A service of its own, since the log gets its listeners later than runs must be
   * counted.
   */
  readonly report: Service = { name: 'last run', start: async () => this.#report(), stop: async () => {} };
  readonly #file: string;
  readonly #bootId: string | undefined;
  readonly #isAskedTo: () => boolean;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #files: StateFiles;
  #restarts: Restarts = { unclean: 0 };
  #current: SavedRuns | undefined;

  constructor(options: {
    file: string;
    /** The machine's boot id, different after each boot. */
    bootId: string | undefined;
    /** Whether this run has been asked to stop. */
    isAskedTo: () => boolean;
    clock: Clock;
    log: Logger;
    files: StateFiles;
  }) {
    this.#files = options.files;
    this.#file = options.file;
    this.#bootId = options.bootId;
    this.#isAskedTo = options.isAskedTo;
    this.#clock = options.clock;
    this.#log = options.log;
  }

  status(): Restarts {
    return this.#restarts;
  }

  async start(): Promise<void> {
    if (this.#current !== undefined) return;
    const last = this.#read();
    this.#restarts = last === undefined ? { unclean: 0 } : this.#after(last);
    const { unclean, since } = this.#restarts;
    this.#current = {
      startedAt: this.#clock.now().toISOString(),
      ...(this.#bootId === undefined ? {} : { bootId: this.#bootId }),
      unclean,
      ...(since === undefined ? {} : { since }),
    };
    this.#write(this.#current);
    // A run that is killed in its first second counts, too: the record must be on disk before the agent reports
    // "ready".
    await this.#clock.within(RECORD_LIMIT, 'recording the run', this.#files.settled()).catch(() => {});
  }

  /** Notes how this run ends; before other parts end, whose last writes may keep a slow disk busy. */
  end(): void {
    if (this.#current === undefined || this.#current.end !== undefined) return;
    this.#current = { ...this.#current, end: this.#isAskedTo() ? 'stopped' : 'failed' };
    this.#write(this.#current);
  }

  async stop(): Promise<void> {
    this.end(); // when not all parts could be started
  }

  #report(): void {
    const { unclean, since, lastEnd } = this.#restarts;
    if (lastEnd === 'killed' || lastEnd === 'failed') {
      this.#log.warn({ lastEnd, unclean, since }, 'The last run of the agent exited unexpectedly.');
    } else if (lastEnd === 'poweredOff') this.#log.info('The machine was not shut down before this run.');
  }

  #after(last: SavedRuns): Restarts {
    const isOtherBoot = last.bootId !== this.#bootId;
    const lastEnd = last.end ?? (isOtherBoot ? 'poweredOff' : 'killed');
    if (lastEnd === 'stopped') return { unclean: 0, lastEnd };
    const unclean = last.unclean + (lastEnd === 'poweredOff' ? 0 : 1);
    return { unclean, ...(unclean === 0 ? {} : { since: last.since ?? last.startedAt }), lastEnd };
  }

  /** @returns `undefined` when there is no record, or it is invalid */
  #read(): SavedRuns | undefined {
    try {
      return readStateJson(this.#file, (value) => v.parse(SavedRuns, value));
    } catch {
      return undefined;
    }
  }

  /** Logs failures at debug level only: the queues report a disk that can't be written. */
  #write(kept: SavedRuns): void {
    this.#files.replace(this.#file, `${JSON.stringify(kept)}\n`, (err) => {
      if (err !== undefined) this.#log.debug({ err }, 'Could not record this run.');
    });
  }
}
