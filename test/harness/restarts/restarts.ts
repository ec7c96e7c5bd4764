import { systemClock } from '../../../src/core/base/clock.ts';
import { milliseconds, seconds } from '../../../src/core/base/duration.ts';
import { Random } from '../crash/random.ts';
import { until } from '../until.ts';
import { CountedAgent, EACH_EVENT, type Settled } from './counted-agent.ts';
import type { Site, Trouble } from './site.ts';
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
  /** Probability that the agent may recover before the next fault. Default: 0.7. */
  readonly calm?: number;
  /** Maximum duration of a fault, in seconds. */
  readonly longest?: number;
}

/** Time from the end of a fault until the hub had an event that happened after it. */
export interface Recovery {
  readonly trouble: string;
  readonly seconds: number;
}

export interface Outcome extends Settled {
  readonly recoveries: readonly Recovery[];
  /** Keyed by hub and service. */
  readonly mostPerMinute: Readonly<Record<string, number>>;
  /** Maximum number of CONNECTs that the hub refused during one fault. */
  readonly mostRefused: number;
}

/** An agent that sends numbered events while its dependencies are restarted, silent, slow, wrong or refusing. */
export class Restarts {
  readonly #site: Site;
  readonly #agent: CountedAgent;
  readonly #random: Random;
  readonly #options: Options;
  readonly #recoveries: Recovery[] = [];
  #mostRefused = 0;
  /** When the end of a fault last wrote a file. */
  #wroteAt = Number.NEGATIVE_INFINITY;
  readonly #violations: string[] = [];

  private constructor(site: Site, options: Options) {
    this.#site = site;
    this.#options = options;
    this.#random = new Random(options.seed);
    this.#agent = new CountedAgent(site, this.#random);
  }

  /** The files of a failed run are kept. */
  static async run(options: Options): Promise<Outcome> {
    const site = await SITES[options.site].open(EACH_EVENT);
    const run = new Restarts(site, options);
    let outcome: Outcome | undefined;
    try {
      outcome = await run.#run();
      return outcome;
    } finally {
      const keep = outcome === undefined || outcome.violations.length > 0;
      if (keep) options.say(`${options.site}, seed ${options.seed}: the files are in ${site.bed.directory}`);
      await site.stop(keep);
    }
  }

  async #run(): Promise<Outcome> {
    const { restarts, calm = 0.7, say, site } = this.#options;
    this.#agent.launch();
    await this.#agent.process.waitForStatus(({ configuration }) => configuration.source === 'desired', seconds(60));
    await this.#agent.arrive();
    const stop = new AbortController();
    const happening = this.#agent.happen(stop.signal);
    try {
      for (let number = 0; number < restarts; number += 1) {
        const trouble = this.#random.pick(this.#site.troubles as [Trouble, ...Trouble[]]);
        const lasted = await this.#suffer(trouble);
        const isLast = number === restarts - 1;
        const recovered = isLast || this.#random.chance(calm) ? await this.#recover(trouble) : undefined;
        const how = recovered === undefined ? 'the next one at once' : `recovered in ${recovered.toFixed(1)} s`;
        say(`${site} ${number + 1}: ${trouble.name} for ${lasted.toFixed(1)} s; ${how}`);
      }
    } finally {
      stop.abort();
      await happening;
    }
    return this.#settle();
  }

  /** @returns how long it lasted, in seconds */
  async #suffer(trouble: Trouble): Promise<number> {
    const [least, most] = trouble.lasts ?? LASTS;
    const { longest = most } = this.#options;
    const wanted = this.#random.between(least * 1_000, Math.max(least, Math.min(most, longest)) * 1_000);
    const began = systemClock.monotonic();
    const refusedBefore = this.#refused();
    await trouble.begin();
    await systemClock.sleep(milliseconds(wanted));
    const refused = this.#refused() - refusedBefore;
    this.#mostRefused = Math.max(this.#mostRefused, refused);
    const onceMore = began - this.#wroteAt < SEEN_WITHIN ? 1 : 0;
    if (refused > ATTEMPTS_WHEN_REFUSED + onceMore)
      this.#violations.push(`${refused} refusals in one trouble, ${trouble.name}`);
    await trouble.end();
    if (trouble.writes === true) this.#wroteAt = systemClock.monotonic();
    return (systemClock.monotonic() - began) / 1_000;
  }

  /** CONNECTs that the hubs have refused because of the credential. */
  #refused(): number {
    const isRefused = ({ returnCode }: { returnCode?: number }) => returnCode === 4 || returnCode === 5;
    return this.#site.hubs.reduce((all, { connections }) => all + connections.filter(isRefused).length, 0);
  }

  /** @returns after how many seconds the hub had an event that happened after the trouble */
  async #recover({ name }: Trouble): Promise<number> {
    const began = systemClock.monotonic();
    const first = this.#agent.events.appended;
    const what = () =>
      `recovery from "${name}"; the agent wrote:\n${this.#agent.process.log
        .slice(-15)
        .map((line) => JSON.stringify(line))
        .join('\n')}`;
    await until(what, () => this.#agent.hasDelivered(first), { limit: RECOVERS_WITHIN });
    const seconds = (systemClock.monotonic() - began) / 1_000;
    this.#recoveries.push({ trouble: name, seconds });
    return seconds;
  }

  async #settle(): Promise<Outcome> {
    const settled = await this.#agent.settle();
    const { attempts } = this.#site;
    const violations = [...settled.violations, ...attempts.violations(), ...this.#violations];
    return {
      ...settled,
      violations,
      mostPerMinute: attempts.mostPerMinute(),
      recoveries: this.#recoveries,
      mostRefused: this.#mostRefused,
    };
  }
}
