import { systemClock } from '../../../src/core/base/clock.ts';
import { type Duration, milliseconds, seconds } from '../../../src/core/base/duration.ts';
import type { ConnectionRecord } from '../../../src/emulator/connection-log.ts';
import type { Settled } from '../scenario/counted-agent.ts';
import { Random } from '../scenario/random.ts';
import { until } from '../until.ts';
import { ASSIGNED, CREATED, type Plan, planOf, type Situation } from './plans.ts';
import { ATTEMPTS_WHEN_REFUSED } from './restarts.ts';
import type { Site } from './site.ts';
import { EACH_EVENT, SiteAgent } from './site-agent.ts';
import { SITES, type SiteName } from './sites.ts';

/** Result of an agent in one situation. */
export interface Result {
  readonly site: SiteName;
  readonly situation: Situation;
  /** Error ids with messages, and the later log lines. */
  readonly said: readonly string[];
  readonly did: readonly string[];
  readonly seconds: number;
  readonly limit: number;
  readonly violations: readonly string[];
}

/** The situation does not exist for this kind of identity. */
export interface Senseless {
  readonly site: SiteName;
  readonly situation: Situation;
  readonly because: string;
}

/** Time limit for the agent, long enough for the table to show how late it was. */
const PATIENCE = seconds(200);
const SAYS_WITHIN = seconds(100);
const CONNECTS_WITHIN = seconds(60);
/** Time without an attempt after which the agent's retries count as slow. */
const SLOW = seconds(8);
const LASTS_AT_LEAST = seconds(3);
/**
 * A connection that a hub admitted. Times are of the monotonic clock, since other tests may set this machine's clock.
 */
interface Admitted {
  readonly record: ConnectionRecord;
  readonly at: number;
  closedAt: number | undefined;
}
/** Refusals of a credential by each service, as named in the table. */
const NO_REFUSALS = { hub: 0, registry: 0, service: 0 };

/** Lines of the log that the table shows. */
const SHOWN = ['Connected to the hub.', CREATED, ASSIGNED];

/** An agent in one situation: its log, its actions, and the time until it is connected again. */
export class Cell {
  readonly #site: Site;
  readonly #plan: Plan;
  readonly #agent: SiteAgent;
  /** Length of the log when the fault began. */
  #heardBefore = 0;
  readonly #admitted: Admitted[] = [];
  /** Earliest time at which a hub may admit the agent again. */
  #from: number = systemClock.monotonic();
  #refused = NO_REFUSALS;

  private constructor(site: Site, plan: Plan) {
    this.#site = site;
    this.#plan = plan;
    this.#agent = new SiteAgent(site, new Random(1));
    for (const hub of site.hubs) {
      hub.on('connection', (record: ConnectionRecord) => {
        if (record.admitted) this.#admitted.push({ record, at: systemClock.monotonic(), closedAt: undefined });
      });
      hub.on('disconnection', (record: ConnectionRecord) => {
        const closed = this.#admitted.find((one) => one.record === record);
        if (closed !== undefined) closed.closedAt = systemClock.monotonic();
      });
    }
  }

  static async run(name: SiteName, situation: Situation, say: (line: string) => void): Promise<Result | Senseless> {
    const site = await SITES[name](EACH_EVENT);
    let keep = false;
    try {
      const plan = planOf(name, situation, site);
      if (typeof plan === 'string') return { site: name, situation, because: plan };
      const cell = new Cell(site, plan);
      keep = true;
      const result = { site: name, situation, ...(await cell.#run()) };
      keep = result.violations.length > 0;
      return result;
    } catch (error) {
      const violations = [(error as Error).message];
      return { site: name, situation, said: [], did: [], seconds: Number.NaN, limit: Number.NaN, violations };
    } finally {
      if (keep) say(`${name}, ${situation}: the files are in ${site.bed.directory}`);
      await site.stop(keep);
    }
  }

  async #run(): Promise<Omit<Result, 'site' | 'situation'>> {
    const { fault, when, byItself = false, limit } = this.#plan;
    this.#site.bed.startWith(EACH_EVENT); // it counts each event even without a hub
    if (when !== 'start') await this.#beConnected();
    if (when === 'restart') await this.#agent.stop();
    const refusedBefore = this.#refusals();
    this.#heardBefore = this.#agent.log.length;
    this.#from = systemClock.monotonic();
    await fault.begin();
    if (when !== 'running') await this.#start();
    const stop = new AbortController();
    const happening = this.#agent.load(stop.signal);
    let connected: Admitted;
    try {
      if (!byItself) {
        await this.#suffer();
        this.#refused = this.#refusals(refusedBefore);
        this.#from = systemClock.monotonic();
        await fault.end();
      }
      await this.#relaunch();
      connected = await this.#recover();
      if (byItself) this.#refused = this.#refusals(refusedBefore);
    } finally {
      stop.abort();
      await happening;
    }
    const gap = this.#gapBefore(connected);
    if (byItself) await fault.end();
    const settled = await this.#agent.settle();
    const took = (connected.at - this.#from) / 1_000;
    return {
      said: this.#said(),
      did: this.#did(settled, gap),
      seconds: took,
      limit: limit / 1_000,
      violations: [...this.#judge(took), ...settled.violations],
    };
  }

  async #start(): Promise<void> {
    this.#agent.launch(this.#plan.changes);
    await this.#agent.arrive();
  }

  async #beConnected(): Promise<void> {
    await this.#start();
    await this.#agent.process.waitForStatus(
      ({ hub, configuration }) => hub.state === 'connected' && configuration.source === 'desired',
      CONNECTS_WITHIN,
    );
  }

  /** Waits until the agent has logged the expected errors, still collects, and retries slowly after refusals. */
  async #suffer(): Promise<void> {
    const { must, reason } = this.#plan;
    const missing = () => must.filter((id) => !this.#ids().includes(id));
    const isExplained = () =>
      reason === undefined || this.#lines().some(({ id, msg }) => id !== undefined && reason.test(msg));
    const expectation = () => `the agent to say ${must.join(', ')}, ${reason}; it wrote:\n${this.#agent.lastLines()}`;
    await until(expectation, () => missing().length === 0 && isExplained(), { limit: SAYS_WITHIN });
    await this.#agent.collects(seconds(30));
    await this.#untilNobodyRefuses();
  }

  async #untilNobodyRefuses(): Promise<void> {
    let last = this.#count();
    const began = systemClock.monotonic();
    let since = began;
    const needed = (): Duration => (last === 0 ? LASTS_AT_LEAST : SLOW);
    await until(
      'the agent to become slow',
      () => {
        const now = this.#count();
        if (now !== last) since = systemClock.monotonic();
        last = now;
        return systemClock.monotonic() - since >= needed();
      },
      { limit: seconds(90), every: milliseconds(100) },
    );
  }

  async #relaunch(): Promise<void> {
    const { relaunch, changes } = this.#plan;
    if (relaunch === undefined) return;
    await this.#agent.stop();
    this.#from = systemClock.monotonic();
    this.#agent.launch(changes, relaunch());
    await this.#agent.arrive();
  }

  /** @returns the connection that was admitted */
  async #recover(): Promise<Admitted> {
    let connected: Admitted | undefined;
    await until(
      () => `the agent to connect; it wrote:\n${this.#agent.lastLines()}`,
      () => {
        connected = this.#admitted.find(({ at }) => at >= this.#from);
        return connected !== undefined;
      },
      { limit: PATIENCE },
    );
    const first = this.#agent.events.appended;
    await until('an event that happened later', () => this.#agent.hasDelivered(first), { limit: PATIENCE });
    return connected as Admitted;
  }

  #judge(took: number): string[] {
    const { limit, must, may = [], says } = this.#plan;
    const ids = this.#ids();
    const unexpected = ids.filter((id) => ![...must, ...may].some((one) => one === id));
    const often = Object.entries(this.#refused).filter(([, count]) => count > ATTEMPTS_WHEN_REFUSED);
    return [
      ...(took * 1_000 <= limit ? [] : [`it took ${took.toFixed(1)} s`]),
      ...must.filter((id) => !ids.includes(id)).map((id) => `it did not say ${id}`),
      ...unexpected.map((id) => `it said ${id}`),
      ...often.map(([party, count]) => `${count} refusals by the ${party} in one fault`),
      ...(says === undefined || this.#agent.log.some(({ msg }) => msg === says) ? [] : [`it did not say "${says}"`]),
    ];
  }

  /** Ids of the errors that were logged since the fault began. */
  #ids(): string[] {
    return [...new Set(this.#lines().flatMap(({ id }) => (typeof id === 'string' ? [id] : [])))];
  }

  #lines() {
    return this.#agent.log.slice(this.#heardBefore);
  }

  #said(): string[] {
    return this.#lines().flatMap(({ id, msg, hub, hostName, transport }) => {
      if (typeof id === 'string') return [`${id}: ${msg.replace(/^.*extra details: /s, '')}`];
      if (!SHOWN.includes(msg)) return [];
      const where = [hub ?? hostName, transport].filter((one) => one !== undefined).join(', ');
      return [`${msg.replace(/\.$/, '')}: ${where}`];
    });
  }

  #did({ events, repeated }: Settled, gap: number): string[] {
    const refused = Object.entries(this.#refused).filter(([, count]) => count > 0);
    const most = Math.max(0, ...Object.values(this.#site.attempts.mostPerMinute()));
    return [
      ...(refused.length === 0 ? [] : [`refused ${refused.map(([party, n]) => `${n}× by the ${party}`).join(', ')}`]),
      ...(this.#plan.when === 'running' && this.#plan.relaunch === undefined
        ? [gap <= 0 ? 'the connection stood until the new one' : `${gap.toFixed(1)} s without a connection`]
        : []),
      `${events} events, all delivered${repeated === 0 ? '' : `, ${repeated} of them repeated`}`,
      `at most ${most} attempts a minute`,
    ];
  }

  /** Seconds between the end of the previous connection and this one; 0 if the previous one was still open. */
  #gapBefore(connected: Admitted): number {
    const before = this.#admitted[this.#admitted.indexOf(connected) - 1];
    return Math.max(0, connected.at - (before?.closedAt ?? Number.POSITIVE_INFINITY)) / 1_000;
  }

  #count(): number {
    return Object.values(this.#refusals()).reduce((all, count) => all + count, 0);
  }

  /** Refusals of a credential so far, less those `before`. */
  #refusals(before = NO_REFUSALS): typeof NO_REFUSALS {
    const count = (statuses: readonly number[], of: readonly { status?: number }[]) =>
      of.filter(({ status }) => status !== undefined && statuses.includes(status)).length;
    const codes = this.#site.hubs.flatMap(({ connections }) =>
      connections.map(({ returnCode }) => (returnCode === undefined ? {} : { status: returnCode })),
    );
    const registry = this.#site.hubs.flatMap(({ restRequests }) => restRequests);
    const service = this.#site.registrations();
    return {
      hub: count([4, 5], codes) - before.hub,
      registry: count([401, 403], registry) - before.registry,
      service: count([401, 403], service) - before.service,
    };
  }
}
