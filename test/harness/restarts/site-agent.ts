import { join } from 'node:path';
import { systemClock } from '../../../src/core/base/clock.ts';
import { type Duration, milliseconds } from '../../../src/core/base/duration.ts';
import type { AgentProcess, Launch } from '../../integration/test-bed.ts';
import { CountedAgent, type Settled } from '../scenario/counted-agent.ts';
import { OFF, priorityOf } from '../scenario/launch.ts';
import { booksOf, COUNTED } from '../scenario/ledger.ts';
import { NumberedLog } from '../scenario/numbered-log.ts';
import type { Random } from '../scenario/random.ts';
import type { Site } from './site.ts';

/** Settings by which events are sent one by one, with a message each second. */
export const EACH_EVENT = {
  highPriorityMessageFrequency: { value: 'PT1S' },
  lowPriorityMessageFrequency: { value: 'PT1S' },
  ...priorityOf(Object.keys(COUNTED), 'High'),
  aggregationEnabledProcessCreate: { value: false },
  ...priorityOf(OFF, 'Off'),
};

/** A configuration of the agent with changed `hub` and `identity`. */
export interface Changes {
  readonly hub?: object;
  readonly identity?: object;
}

/** The agent of a site, which must not lose any event. */
export class SiteAgent extends CountedAgent {
  readonly #site: Site;
  readonly #random: Random;

  constructor(site: Site, random: Random) {
    const { bed, hubs } = site;
    const events = new NumberedLog(join(bed.directory, 'host'), random);
    super({ bed, hubs, events, onAttempt: (attempt) => site.heard(attempt) });
    this.#site = site;
    this.#random = random;
  }

  launch({ hub, identity }: Changes = {}, launch: Launch = this.#site.launch): AgentProcess {
    const { bed, configuration } = this.#site;
    bed.writeConfiguration({
      hub: { ...configuration.hub, ...hub },
      identity: { ...configuration.identity, ...identity },
      hostRoot: this.events.hostRoot,
    });
    return this.start(launch);
  }

  /** Generates events until `signal` aborts. */
  async load(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (this.#random.chance(0.02)) this.events.disturb?.();
      this.events.burst(this.#random.between(1, 3));
      await systemClock.sleep(milliseconds(this.#random.between(100, 600)), signal);
    }
  }

  /** Generates events, and resolves when the agent has collected as many. */
  async collects(limit: Duration): Promise<void> {
    const before = booksOf(await this.process.status()).collected;
    this.events.burst(5);
    await this.events.complete();
    await this.process.waitForStatus((status) => booksOf(status).collected >= before + 5, limit);
  }

  override async settle(): Promise<Settled> {
    const settled = await super.settle();
    const { missing, violations } = settled;
    const lost = missing > 0 ? [`${missing} events are missing`] : [];
    return { ...settled, violations: [...violations, ...lost, ...this.#site.attempts.violations()] };
  }

  /** The last lines of its log, for an error message. */
  lastLines(): string {
    return this.log
      .slice(-15)
      .map((line) => JSON.stringify(line))
      .join('\n');
  }
}
