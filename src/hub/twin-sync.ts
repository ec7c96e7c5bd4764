import { Alarm } from '../base/alarm.ts';
import { fullJitter } from '../base/backoff.ts';
import type { Clock } from '../base/clock.ts';
import { days, minutes, seconds } from '../base/duration.ts';
import { toAgentError } from '../base/errors.ts';
import { type Logger, logError } from '../base/log.ts';
import type { Service } from '../base/service.ts';
import type { Answer, HubClient, TwinDocument, TwinSection } from '../contract/hub.ts';
import { RepeatedErrorLog } from './repeated-error-log.ts';
import { fitReported, LARGEST_SECTION, sizeOf } from './fit-reported.ts';
import { applyPatch, type Members, patchTo } from './merge-patch.ts';

export interface TwinSyncOptions {
  readonly hub: HubClient;
  /**
   * Gets the whole desired section: at the first reading, whenever its `$version` is newer, and when two readings in a
   * row have an older one, or another content under the same one.
   */
  readonly apply: (desired: TwinSection) => void;
  /** The complete reported properties as they should be, without `$version`. Names it doesn't hold are left alone. */
  readonly reported: () => Readonly<Record<string, unknown>>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The agent's status: its parts may be left out when the section gets too large, the mirrored configuration never. */
const STATUS = 'securityAgent';
/** Many signals within this time cost one reading and one report: each is billed. */
const COALESCE = seconds(1);
/** How long leaving may take. */
const LAST_REPORT_LIMIT = seconds(2);

/**
 * Keeps the module twin in step: what it desires goes in, what the agent reports goes out (contract §2).
 *
 * A notification is only ever a signal to read the twin again, never a document: it holds just what changed, some get
 * lost, and none is kept for a module that is away.
 */
export class TwinSync implements Service {
  readonly name = 'twin';
  readonly #options: TwinSyncOptions;
  readonly #alarm = new Alarm();
  readonly #stop = new AbortController();
  readonly #backoff;
  readonly #errors: RepeatedErrorLog;
  #mustRead = false;
  /** The desired section that was last obeyed. */
  #applied: Reading | undefined;
  /** One that seems to be older. */
  #doubted: Reading | undefined;
  /** Reported as the hub has it, as far as known. */
  #known: Members | undefined;
  /** A patch the hub will not have, as JSON: not sent again until something else is to be said. */
  #refused: string | undefined;
  #running: Promise<void> | undefined;

  constructor(options: TwinSyncOptions) {
    this.#options = options;
    this.#backoff = fullJitter({ first: seconds(5), most: minutes(5), atLeast: seconds(1) });
    this.#errors = new RepeatedErrorLog(options.clock, options.log);
    options.hub.on('connected', () => this.#signal());
    options.hub.on('desired', () => this.#signal());
  }

  async start(): Promise<void> {
    this.#running ??= this.#run(this.#stop.signal);
  }

  /** Ends with a last report, if the hub can be reached and is quick. */
  async stop(): Promise<void> {
    if (this.#stop.signal.aborted) return;
    this.#stop.abort();
    const { clock } = this.#options;
    await clock.within(LAST_REPORT_LIMIT, 'the last report', this.#reportLast()).catch(() => {});
  }

  async #reportLast(): Promise<void> {
    await this.#running;
    if (this.#known === undefined || this.#options.hub.status().state !== 'connected') return;
    await this.#report(this.#stop.signal);
  }

  /** To be called when `reported()` may have changed. */
  changed(): void {
    this.#alarm.ring();
  }

  #signal(): void {
    this.#mustRead = true;
    this.#alarm.ring();
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    while (!signal.aborted) {
      await this.#alarm.sleep(clock, days(1), signal);
      await clock.sleep(COALESCE, signal);
      if (signal.aborted) return;
      try {
        await this.#synchronize(signal);
      } catch (error) {
        logError(log, toAgentError(error));
      }
    }
  }

  /** One turn; without a connection nothing is tried, and 'connected' starts the next. */
  async #synchronize(signal: AbortSignal): Promise<void> {
    const { hub } = this.#options;
    if (hub.status().state !== 'connected') return;
    if (this.#mustRead || this.#known === undefined) {
      this.#mustRead = false; // before, not after: a signal that comes meanwhile asks for one more reading
      const answer = await hub.readTwin();
      if (answer.status !== 'accepted') {
        this.#mustRead = true;
        return this.#failed(answer, signal);
      }
      this.#take(answer.value);
    }
    await this.#report(signal);
  }

  #take({ desired, reported }: TwinDocument): void {
    this.#known = reported;
    const reading = readingOf(desired);
    if (this.#applied !== undefined && !this.#mustApply(reading, this.#applied)) return;
    this.#applied = reading;
    this.#doubted = undefined;
    try {
      this.#options.apply(desired);
    } catch (error) {
      logError(this.#options.log, toAgentError(error)); // reported all the same, and not tried again
    }
  }

  /**
   * Whether `reading` is to be obeyed. Versions only count up, until the module is made anew or the hub is restored from a
   * copy: then they begin again, and what they say holds. Since it could also be a late answer, the hub must say it twice.
   */
  #mustApply(reading: Reading, applied: Reading): boolean {
    if (reading.version > applied.version) return true;
    const doubted = this.#doubted;
    this.#doubted = isSame(reading, applied) ? undefined : reading;
    if (this.#doubted === undefined) return false;
    if (doubted === undefined || !isSame(reading, doubted)) {
      this.#signal();
      return false;
    }
    this.#options.log.warn(
      { desiredVersion: reading.version, before: applied.version },
      'The desired properties begin anew, as for a module that was made anew; they are obeyed.',
    );
    return true;
  }

  async #report(signal: AbortSignal): Promise<void> {
    const { hub, reported } = this.#options;
    const known = this.#known ?? {};
    const wanted = reported();
    const others = Object.entries(known).filter(([name]) => !Object.hasOwn(wanted, name));
    const room = LARGEST_SECTION - sizeOf(Object.fromEntries(others));
    const patch = patchTo(withRemovals(wanted, fitReported(wanted, STATUS, room)), known);
    const json = JSON.stringify(patch);
    if (json === '{}' || json === this.#refused) return this.#succeeded();
    const answer = await hub.report(patch);
    if (answer.status === 'accepted') {
      this.#known = applyPatch(known, patch);
      this.#refused = undefined;
      return this.#succeeded();
    }
    if (answer.status === 'refused') this.#refused = json;
    await this.#failed(answer, signal);
  }

  #succeeded(): void {
    this.#backoff.reset();
    this.#errors.reset();
  }

  /** Waits its time out, whatever is signalled meanwhile: a hub that is too busy must not be asked more often. */
  async #failed(answer: Exclude<Answer<unknown>, { status: 'accepted' }>, signal: AbortSignal): Promise<void> {
    const { hub, clock } = this.#options;
    if (hub.status().state !== 'connected') return; // the client says why, and when it is over
    this.#errors.log(answer.error);
    if (answer.status === 'refused') return;
    const wait = Math.max(this.#backoff.next(), answer.after ?? 0);
    await clock.sleep(seconds(wait / 1_000), signal);
    this.#alarm.ring();
  }
}

/** A desired section, as far as it can be told from another one. */
interface Reading {
  readonly version: number;
  readonly text: string;
}

const readingOf = ({ $version, ...content }: TwinSection): Reading => ({
  version: Number.isSafeInteger($version) ? $version : 0,
  text: JSON.stringify(content),
});

const isSame = (a: Reading, b: Reading) => a.version === b.version && a.text === b.text;

/** A top-level name that holds nothing any more is removed, not left as it was. */
const withRemovals = (wanted: Members, fitting: Members): Members =>
  Object.fromEntries(Object.keys(wanted).map((name) => [name, fitting[name]]));
