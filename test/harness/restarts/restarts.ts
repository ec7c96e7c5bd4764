import { systemClock } from '../../../src/core/base/clock.ts';
import { milliseconds, seconds } from '../../../src/core/base/duration.ts';
import type { Settled } from '../scenario/counted-agent.ts';
import { Random } from '../scenario/random.ts';
import { runScenario, type Scenario, type Step, Verdict } from '../scenario/runner.ts';
import { until } from '../until.ts';
import type { Site, SiteFault } from './site.ts';
import { EACH_EVENT, SiteAgent } from './site-agent.ts';
import { SITES, type SiteName } from './sites.ts';

/** Twice the longest delay of the back-off, plus the time for connecting. */
const RECOVERS_WITHIN = seconds(180);
/** Attempts after a refusal, per credential, until the agent retries slowly (contract §1). */
export const ATTEMPTS_WHEN_REFUSED = 3;
const LASTS = [0.5, 8] as const;
/** Maximum time until an agent notices that a file was written. */
const SEEN_WITHIN = seconds(15);

export interface Options {
  readonly site: SiteName;
  readonly restarts: number;
  readonly seed: number;
  readonly say: (line: string) => void;
  /** Whether it prints each fault. */
  readonly isVerbose?: boolean;
  /** Probability that the agent may recover before the next fault. Default: 0.7. */
  readonly calm?: number;
  /** Maximum duration of a fault, in seconds. */
  readonly longest?: number;
}

/** Time from the end of a fault until the hub had an event that happened after it. */
export interface Recovery {
  readonly fault: string;
  readonly seconds: number;
}

/** An agent that sends numbered events while its dependencies are restarted, silent, slow, wrong or refusing. */
export class Restarts implements Scenario {
  readonly verdict: Verdict;
  readonly recoveries: Recovery[] = [];
  /** Absent if the run failed earlier. */
  settled: Settled | undefined;
  /** Maximum number of CONNECTs that the hubs refused during one fault. */
  mostRefused = 0;
  readonly #site: Site;
  readonly #agent: SiteAgent;
  readonly #random: Random;
  readonly #options: Options;
  /** When the end of a fault last wrote a file. */
  #wroteAt = Number.NEGATIVE_INFINITY;

  private constructor(site: Site, options: Options, verdict: Verdict) {
    this.#site = site;
    this.#options = options;
    this.verdict = verdict;
    this.#random = new Random(options.seed);
    this.#agent = new SiteAgent(site, this.#random);
  }

  static async run(options: Options): Promise<Restarts> {
    const verdict = new Verdict(`${options.site}, seed ${options.seed}`, options.say);
    const run = new Restarts(await SITES[options.site](EACH_EVENT), options, verdict);
    await runScenario(run, verdict);
    return run;
  }

  /** The largest number of attempts within a minute, keyed by hub and service. */
  get mostPerMinute(): Readonly<Record<string, number>> {
    return this.#site.attempts.mostPerMinute();
  }

  get directory(): string {
    return this.#site.bed.directory;
  }

  async begin(): Promise<void> {
    const process = this.#agent.launch();
    await process.waitForStatus(({ configuration }) => configuration.source === 'desired', seconds(60));
    await this.#agent.arrive();
  }

  load(signal: AbortSignal): Promise<void> {
    return this.#agent.load(signal);
  }

  *steps(): Iterable<Step> {
    const { restarts, calm = 0.7, longest = Number.POSITIVE_INFINITY, say, site, isVerbose = false } = this.#options;
    for (let number = 1; number <= restarts; number += 1) {
      const fault = this.#random.pick(this.#site.faults as [SiteFault, ...SiteFault[]]);
      const [least, most] = fault.lasts ?? LASTS;
      const lasts = this.#random.between(least * 1_000, Math.max(least, Math.min(most, longest)) * 1_000);
      const recovers = number === restarts || this.#random.chance(calm);
      const refusedBefore = this.#refused();
      const recover: Step['recover'] = async (began, ended) => {
        this.#checkRefusals(this.#refused() - refusedBefore, fault, began);
        if (fault.writes === true) this.#wroteAt = ended;
        const recovery = recovers
          ? `recovered in ${(await this.#recover(fault)).toFixed(1)} s`
          : 'the next one at once';
        if (isVerbose)
          say(`${site} ${number}: ${fault.name} for ${((ended - began) / 1_000).toFixed(1)} s; ${recovery}`);
      };
      yield { fault, lasts: milliseconds(lasts), recover };
    }
  }

  async settle(): Promise<void> {
    this.settled = await this.#agent.settle();
    this.verdict.add(this.settled.violations);
  }

  async close({ keep }: { keep: boolean }): Promise<void> {
    await this.#site.stop(keep);
  }

  #checkRefusals(refused: number, { name }: SiteFault, began: number): void {
    this.mostRefused = Math.max(this.mostRefused, refused);
    const onceMore = began - this.#wroteAt < SEEN_WITHIN ? 1 : 0;
    if (refused > ATTEMPTS_WHEN_REFUSED + onceMore) this.verdict.add([`${refused} refusals during one fault, ${name}`]);
  }

  /** CONNECTs that the hubs have refused because of the credential. */
  #refused(): number {
    const isRefused = ({ returnCode }: { returnCode?: number }) => returnCode === 4 || returnCode === 5;
    return this.#site.hubs.reduce((all, { connections }) => all + connections.filter(isRefused).length, 0);
  }

  /** @returns after how many seconds the hub had an event that happened after the fault */
  async #recover({ name }: SiteFault): Promise<number> {
    const began = systemClock.monotonic();
    const first = this.#agent.events.appended;
    const expectation = () => `recovery from "${name}"; the agent wrote:\n${this.#agent.lastLines()}`;
    await until(expectation, () => this.#agent.hasDelivered(first), { limit: RECOVERS_WITHIN });
    const seconds = (systemClock.monotonic() - began) / 1_000;
    this.recoveries.push({ fault: name, seconds });
    return seconds;
  }
}
