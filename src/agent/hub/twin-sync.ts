import { fullJitter } from '../../core/base/backoff.ts';
import type { Clock } from '../../core/base/clock.ts';
import { type Duration, days, milliseconds, minutes, seconds } from '../../core/base/duration.ts';
import { toAgentError } from '../../core/base/errors.ts';
import { type Logger, logError } from '../../core/base/log.ts';
import { Loop } from '../../core/base/loop.ts';
import type { Service } from '../../core/base/service.ts';
import { Alarm } from '../../core/base/waiting.ts';
import type { Answer, HubClient, TwinDocument, TwinSection } from '../../core/contract/hub.ts';
import { applyPatch, LARGEST_SECTION, type Members, patchTo, sizeInTwin } from '../../core/twin/sections.ts';
import { fitReported } from './fit-reported.ts';
import { RepeatedErrorLog } from './repeated-error-log.ts';

export interface TwinSyncOptions {
  readonly hub: HubClient;
  /**
   * Called with the whole desired section: at the first reading, whenever `$version` is higher, and when two consecutive
   * readings have the same lower version, or the same version with other content.
   */
  readonly apply: (desired: TwinSection) => void;
  /** The complete wanted reported properties, without `$version`. Other top-level names in the twin are not touched. */
  readonly reported: () => Readonly<Record<string, unknown>>;
  /** Parts of the status, `name` or `name.name`, that are left out first when the section is too large. */
  readonly expendable?: readonly string[];
  readonly clock: Clock;
  readonly log: Logger;
  /** Numbers from 0 (included) to 1 (excluded). If absent, Math.random. */
  readonly random?: () => number;
}

/** The agent's status. Parts of it may be left out when the section is too large; the mirrored configuration never is. */
const STATUS = 'securityAgent';
/** Signals within this time cause one reading and one report, since the hub charges for each. */
const COALESCE = seconds(1);
/**
 * After an outage a report waits for a random time of up to a tenth of the outage, at most LONGEST_SPREAD: all agents of a
 * fleet come back within two minutes, and a hub takes few reports a second, those of other modules among them.
 */
const SPREAD = 1 / 10;
const LONGEST_SPREAD = minutes(6);
/** How many refused patches are remembered. */
const MAX_REFUSED = 8;
/** Time limit for the last report when the agent stops. */
const LAST_REPORT_LIMIT = seconds(2);

/**
 * Synchronizes the module twin: passes desired properties to the agent, and the agent's reported properties to the hub
 * (contract §2).
 *
 * A notification only causes the twin to be read again; its content is not used. It contains only the change, can be lost,
 * and is not stored for a module that is offline.
 */
export class TwinSync implements Service {
  readonly name = 'twin';
  readonly #options: TwinSyncOptions;
  readonly #alarm = new Alarm();
  readonly #loop: Loop;
  #isStopped = false;
  readonly #backoff;
  readonly #errors: RepeatedErrorLog;
  #mustRead = false;
  /** Counts connections: what was read in an earlier one can be of another hub, or of a module that was created again. */
  #connection = 0;
  /** Since when there is no connection, if there has been one. */
  #lostAt: Duration | undefined;
  /** Nothing is reported before this time. */
  #reportFrom: Duration = milliseconds(0);
  /** The desired section that was applied last. */
  #applied: Reading | undefined;
  /** A desired section that seems older than the applied one; applied if it is read twice. */
  #doubted: Reading | undefined;
  /** The reported section as last read or written in this connection. */
  #known: Members | undefined;
  /** Patches that the hub refused, as JSON: the last few. They aren't sent again. */
  readonly #refused = new Set<string>();

  constructor(options: TwinSyncOptions) {
    this.#options = options;
    this.#backoff = fullJitter({ first: seconds(5), max: minutes(5), atLeast: seconds(1) });
    this.#errors = new RepeatedErrorLog(options.clock, options.log);
    this.#loop = new Loop((signal) => this.#turn(signal), options);
    options.hub.on('connected', () => {
      this.#connection += 1;
      this.#known = undefined;
      this.#spreadReport();
      this.#signal();
    });
    options.hub.on('status', () => {
      const isLost = this.#connection > 0 && options.hub.status().state !== 'connected';
      if (isLost) this.#lostAt ??= options.clock.monotonic();
    });
    options.hub.on('desired', () => {
      this.#reportFrom = milliseconds(0);
      this.#signal();
    });
  }

  async start(): Promise<void> {
    this.#loop.start();
  }

  /** Sends a last report if the agent is connected, within a time limit. */
  async stop(): Promise<void> {
    if (this.#isStopped) return;
    this.#isStopped = true;
    const { clock } = this.#options;
    await clock.within(LAST_REPORT_LIMIT, 'the last report', this.#reportLast()).catch(() => {});
  }

  async #reportLast(): Promise<void> {
    await this.#loop.stop();
    if (this.#applied === undefined) return; // what was never configured has nothing to report
    this.#reportFrom = milliseconds(0);
    await this.#synchronize(AbortSignal.abort());
  }

  /** Call this when `reported()` may have changed. */
  changed(): void {
    this.#alarm.ring();
  }

  #signal(): void {
    this.#mustRead = true;
    this.#alarm.ring();
  }

  #spreadReport(): void {
    const { clock, random = Math.random } = this.#options;
    const now = clock.monotonic();
    const outage = now - (this.#lostAt ?? now);
    this.#lostAt = undefined;
    this.#reportFrom = milliseconds(now + random() * Math.min(outage * SPREAD, LONGEST_SPREAD));
  }

  async #turn(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const spread = this.#reportFrom - clock.monotonic();
    await this.#alarm.sleep(clock, spread > 0 ? milliseconds(spread) : days(1), signal);
    await clock.sleep(COALESCE, signal);
    if (!signal.aborted) await this.#synchronize(signal);
  }

  /** Reads and reports once. Does nothing while disconnected; the event 'connected' causes the next turn. */
  async #synchronize(signal: AbortSignal): Promise<void> {
    const { hub, clock } = this.#options;
    if (hub.status().state !== 'connected') return;
    if (this.#mustRead || this.#known === undefined) {
      this.#mustRead = false; // before the reading, so that a signal during it causes another one
      const connection = this.#connection;
      const answer = await hub.readTwin();
      if (connection !== this.#connection) return; // the new connection has caused another turn
      if (answer.status !== 'accepted') {
        this.#mustRead = true;
        return this.#failed(answer, signal);
      }
      this.#take(answer.value);
    }
    if (clock.monotonic() >= this.#reportFrom) await this.#report(signal);
  }

  #take({ desired, reported }: TwinDocument): void {
    this.#known = reported;
    const reading = readingOf(desired);
    if (this.#applied !== undefined && !this.#mustApply(reading, this.#applied)) return;
    this.#applied = reading;
    this.#doubted = undefined;
    this.#reportFrom = milliseconds(0); // the user who changed them waits for the answer
    try {
      this.#options.apply(desired);
    } catch (error) {
      logError(this.#options.log, toAgentError(error)); // not retried; the report is sent anyway
    }
  }

  /**
   * Whether `reading` is newer than `applied`. Versions only increase, unless the module was created again or the hub was
   * restored from a copy: then they restart, and the new content must be applied. A lower version can also be a late
   * answer, so it is applied only if two consecutive readings agree.
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
      'The version of the desired properties went back, as for a module that was created again; applying them.',
    );
    return true;
  }

  async #report(signal: AbortSignal): Promise<void> {
    const wanted = this.#options.reported();
    const answer = await this.#patch(wanted);
    if (answer === undefined || answer.status === 'accepted') return this.#succeeded();
    // Whatever the hub doesn't take of the rest: it must not keep the state from being known.
    if (answer.status === 'refused' && Object.hasOwn(wanted, STATUS)) await this.#patch({ [STATUS]: wanted[STATUS] });
    await this.#failed(answer, signal);
  }

  /** @returns the hub's answer, or `undefined` when there is nothing to send that it hasn't refused */
  async #patch(wanted: Members): Promise<Answer<unknown> | undefined> {
    const { hub, expendable } = this.#options;
    const connection = this.#connection;
    const known = this.#known ?? {};
    const otherProperties = Object.entries(known).filter(([name]) => !Object.hasOwn(wanted, name));
    const space = LARGEST_SECTION - sizeInTwin(Object.fromEntries(otherProperties));
    const patch = patchTo(withRemovals(wanted, fitReported(wanted, STATUS, expendable, space)), known);
    const json = JSON.stringify(patch);
    if (json === '{}' || this.#refused.has(json)) return undefined;
    const answer = await hub.report(patch);
    if (answer.status === 'accepted') {
      if (connection === this.#connection) this.#known = applyPatch(known, patch);
    } else if (answer.status === 'refused') {
      if (this.#refused.size >= MAX_REFUSED) this.#refused.clear();
      this.#refused.add(json);
    }
    return answer;
  }

  #succeeded(): void {
    this.#backoff.reset();
    this.#errors.reset();
  }

  /** Backs off. Signals don't shorten the wait: a throttling hub must not get more requests. */
  async #failed(answer: Exclude<Answer<unknown>, { status: 'accepted' }>, signal: AbortSignal): Promise<void> {
    const { hub, clock } = this.#options;
    if (hub.status().state !== 'connected') return; // the client logs this, and signals 'connected' later
    this.#errors.log(answer.error);
    if (answer.status === 'refused') return;
    const wait = Math.max(this.#backoff.next(), answer.after ?? 0);
    await clock.sleep(seconds(wait / 1_000), signal);
    this.#alarm.ring();
  }
}

/** Identifies a desired section by version and content. */
interface Reading {
  readonly version: number;
  readonly text: string;
}

const readingOf = ({ $version, ...content }: TwinSection): Reading => ({
  version: Number.isSafeInteger($version) ? $version : 0,
  text: JSON.stringify(content),
});

const isSame = (a: Reading, b: Reading) => a.version === b.version && a.text === b.text;

/** Adds each wanted top-level name that doesn't fit as `undefined`, so that the patch removes it. */
const withRemovals = (wanted: Members, fitting: Members): Members =>
  Object.fromEntries(Object.keys(wanted).map((name) => [name, fitting[name]]));
