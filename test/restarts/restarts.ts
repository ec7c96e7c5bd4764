import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import { milliseconds, seconds } from '../../src/base/duration.ts';
import type { HubEmulator } from '../../src/emulator/hub.ts';
import type { ReceivedMessage } from '../../src/emulator/message-log.ts';
import type { LocalStatus } from '../../src/status/schema.ts';
import { booksOf, OFF, TELL_STARTS, WITHOUT_CAPABILITIES } from '../crash/chain.ts';
import { COUNTED, type Findings, Ledger } from '../crash/ledger.ts';
import { MARK } from '../crash/numbered-events.ts';
import { NumberedLog } from '../crash/numbered-log.ts';
import { Random } from '../crash/random.ts';
import type { AgentProcess } from '../integration/test-bed.ts';
import { until } from '../support/until.ts';
import type { Attempt } from './attempts.ts';
import { type Site, TELL_CONNECTIONS, type Trouble } from './site.ts';
import { SITES, type SiteName } from './sites.ts';

/** Twice the longest delay of the back-off, and what connecting may take. */
const RECOVERS_WITHIN = seconds(180);
const SETTLES_WITHIN = seconds(240);
/** Attempts after a refusal until the slow pace, with each credential (contract §1). */
const ATTEMPTS_WHEN_REFUSED = 3;
const LASTS = [0.5, 8] as const;

export interface Options {
  readonly site: SiteName;
  readonly restarts: number;
  readonly seed: number;
  readonly say: (line: string) => void;
  /** How likely the agent may recover before the next trouble. Default 0.7. */
  readonly calm?: number;
  /** The longest that a trouble lasts, in seconds. */
  readonly longest?: number;
}

/** From the end of a trouble until the hub had an event that happened after it. */
export interface Recovery {
  readonly trouble: string;
  readonly seconds: number;
}

export interface Outcome extends Findings {
  readonly events: number;
  readonly recoveries: readonly Recovery[];
  /** By hub and service. */
  readonly mostPerMinute: Readonly<Record<string, number>>;
  /** CONNECTs that the hub refused during one trouble, at most. */
  readonly mostRefused: number;
}

/** Events one by one, messages by the second. */
export const EACH_EVENT = {
  highPriorityMessageFrequency: { value: 'PT1S' },
  lowPriorityMessageFrequency: { value: 'PT1S' },
  ...Object.fromEntries(Object.keys(COUNTED).map((event) => [`eventPriority${event}`, { value: 'High' }])),
  aggregationEnabledProcessCreate: { value: false },
  ...Object.fromEntries(OFF.map((event) => [`eventPriority${event}`, { value: 'Off' }])),
};

/** An agent that sends numbered events, while what it depends on is restarted, silent, slow, wrong or refusing. */
export class Restarts {
  readonly #site: Site;
  readonly #random: Random;
  readonly #events: NumberedLog;
  readonly #options: Options;
  readonly #ledger = new Ledger();
  readonly #recoveries: Recovery[] = [];
  /** Counted over all hubs. */
  #messages = 0;
  #newestReceived = -1;
  #mostRefused = 0;

  private constructor(site: Site, options: Options) {
    this.#site = site;
    this.#options = options;
    this.#random = new Random(options.seed);
    this.#events = new NumberedLog(join(site.bed.directory, 'host'), this.#random);
    for (const hub of site.hubs) this.#listen(hub);
  }

  /** Files of a run that went wrong are left where they are. */
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
    const agent = await this.#start();
    const stop = new AbortController();
    const happening = this.#happen(stop.signal);
    try {
      for (let number = 0; number < restarts; number += 1) {
        const trouble = this.#random.pick(this.#site.troubles as [Trouble, ...Trouble[]]);
        const lasted = await this.#suffer(trouble);
        const isLast = number === restarts - 1;
        const recovered = isLast || this.#random.chance(calm) ? await this.#recover(agent, trouble) : undefined;
        const how = recovered === undefined ? 'the next one at once' : `recovered in ${recovered.toFixed(1)} s`;
        say(`${site} ${number + 1}: ${trouble.name} for ${lasted.toFixed(1)} s; ${how}`);
      }
    } finally {
      stop.abort();
      await happening;
    }
    return this.#settle(agent);
  }

  async #start(): Promise<AgentProcess> {
    const { bed, configuration, launch } = this.#site;
    bed.writeConfiguration({ ...configuration, hostRoot: this.#events.hostRoot });
    const agent = bed.startAgent({
      ...launch,
      through: WITHOUT_CAPABILITIES,
      options: ['--import', TELL_STARTS, '--import', TELL_CONNECTIONS],
      heard: (line) => this.#heard(line),
    });
    const limit = seconds(60);
    await agent.waitForLog(
      ({ msg, source }) =>
        source === 'auditLog' && (msg === 'Events are incomplete.' || msg === 'The source of events has changed.'),
      limit,
    );
    await agent.waitForStatus(({ configuration }) => configuration.source === 'desired', limit);
    this.#events.burst(1);
    await this.#events.complete();
    await agent.waitForStatus(() => this.#events.isRead(this.#stateDirectory), limit);
    return agent;
  }

  get #stateDirectory(): string {
    return join(this.#site.bed.directory, 'state');
  }

  #heard(line: string): void {
    const told = JSON.parse(line) as Attempt | { pid: number; argv: string[] };
    if ('port' in told) this.#site.heard(told);
    else this.#events.ran(told.pid, told.argv);
  }

  #listen(hub: HubEmulator): void {
    hub.on('message', ({ body }: ReceivedMessage) => {
      this.#messages += 1;
      this.#ledger.received(this.#messages, body);
      for (const [, number] of body.matchAll(new RegExp(`${MARK}(\\d+)`, 'g')))
        this.#newestReceived = Math.max(this.#newestReceived, Number(number));
    });
    hub.on('connection', () => this.#ledger.connected());
  }

  async #happen(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (this.#random.chance(0.02)) this.#events.disturb();
      this.#events.burst(this.#random.between(1, 3));
      await systemClock.sleep(milliseconds(this.#random.between(100, 600)), signal);
    }
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
    await trouble.end();
    return (systemClock.monotonic() - began) / 1_000;
  }

  /** CONNECTs that the hubs have refused because of the credential. */
  #refused(): number {
    const isRefused = ({ returnCode }: { returnCode?: number }) => returnCode === 4 || returnCode === 5;
    return this.#site.hubs.reduce((all, { connections }) => all + connections.filter(isRefused).length, 0);
  }

  /** @returns after how many seconds the hub had an event that happened after the trouble */
  async #recover(agent: AgentProcess, { name }: Trouble): Promise<number> {
    const began = systemClock.monotonic();
    const first = this.#events.appended;
    const what = () =>
      `recovery from "${name}"; the agent wrote:\n${agent.log
        .slice(-15)
        .map((line) => JSON.stringify(line))
        .join('\n')}`;
    await until(what, () => this.#newestReceived >= first, { limit: RECOVERS_WITHIN });
    const seconds = (systemClock.monotonic() - began) / 1_000;
    this.#recoveries.push({ trouble: name, seconds });
    return seconds;
  }

  async #settle(agent: AgentProcess): Promise<Outcome> {
    this.#events.burst(1); // with the last one the agent notes how far it has read
    await this.#events.complete();
    const status = await agent.waitForStatus((now) => this.#isDone(now), SETTLES_WITHIN);
    agent.kill('SIGTERM');
    const { status: exit } = await agent.exited;
    const { attempts } = this.#site;
    const findings = this.#ledger.judge(this.#events, booksOf(status));
    const mostPerMinute = attempts.mostPerMinute();
    const violations = [
      ...findings.violations,
      ...(findings.missing > 0 ? [`${findings.missing} events are missing`] : []),
      ...attempts.violations(),
      ...(this.#mostRefused > ATTEMPTS_WHEN_REFUSED ? [`${this.#mostRefused} refusals in one trouble`] : []),
      ...(exit === 0 ? [] : [`SIGTERM ended it with ${exit}`]),
    ];
    const { appended: events } = this.#events;
    const { delivered, repeated, missing, unheard } = findings;
    return {
      ...{ delivered, repeated, missing, unheard, violations, events, mostPerMinute },
      recoveries: this.#recoveries,
      mostRefused: this.#mostRefused,
    };
  }

  #isDone(status: LocalStatus): boolean {
    const holds = existsSync(join(this.#stateDirectory, 'held-logins.json'));
    return (
      status.hub.state === 'connected' &&
      this.#events.isRead(this.#stateDirectory) &&
      !holds &&
      booksOf(status).queued === 0
    );
  }
}
