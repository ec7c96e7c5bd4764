import { join } from 'node:path';
import { systemClock } from '../../../src/core/base/clock.ts';
import { milliseconds, seconds } from '../../../src/core/base/duration.ts';
import { TestBed } from '../../integration/test-bed.ts';
import { watchHeldUp } from '../held-up.ts';
import { CountedAgent, type Settled } from '../scenario/counted-agent.ts';
import { OFF, priorityOf } from '../scenario/launch.ts';
import { COUNTED, CountLedger, Ledger } from '../scenario/ledger.ts';
import { type NumberedEvents, NumberedStarts } from '../scenario/numbered-events.ts';
import { NumberedLog } from '../scenario/numbered-log.ts';
import { Random } from '../scenario/random.ts';
import { once, runScenario, type Scenario, type Step, Verdict } from '../scenario/runner.ts';
import { AlertLedger } from './alert-ledger.ts';
import { AlertLoad } from './alert-load.ts';

/** Kills of one agent between two checks of the events, with one set of settings. */
const KILLS_PER_CHECK = 10;
const KILLS_PER_CHAIN = 20;
/** New alerts are limited in an hour; see AlertLoad. */
const KILLS_PER_CHAIN_OF_ALERTS = 10;
const SETTLES_WITHIN = seconds(120);
/** Maximum delay until the agent has read an event of the kernel's audit: 0.75 s, and a margin. */
const STILL_TO_BE_READ = milliseconds(1_250);

interface Kind {
  /** Where events come from: a log of auditd's, or the kernel itself. */
  readonly source: 'auditLog' | 'auditUnicast';
  /** Whether they are counted by the agent, or sent one by one. */
  readonly aggregated: boolean;
  /** Whether alerts that are raised by the events are counted, instead of the events. */
  readonly alerts: boolean;
}

interface Settings extends Kind {
  /** The queue of the counted events. */
  readonly priority: 'High' | 'Low';
  /** Whether acknowledgements arrive late, connections are reset at a message, and the hub is unavailable at times. */
  readonly faults: boolean;
  /** Maximum sizes of messages and of the queues. */
  readonly maxMessageSizeInBytes: number;
  readonly maxLocalCacheSizeInBytes: number;
}

interface Options extends Partial<Kind> {
  /** Kills. */
  readonly runs: number;
  readonly seed: number;
  readonly say: (line: string) => void;
}

/** Counts of the ledger, over all chains. */
class Total {
  runs = 0;
  readonly counts = { events: 0, delivered: 0, repeated: 0, missing: 0, unheard: 0 };
  readonly dropped: Record<string, number> = {};
  readonly also: Record<string, number> = {};

  add(runs: number, settled: Settled): this {
    this.runs += runs;
    for (const name of Object.keys(this.counts) as (keyof Total['counts'])[]) this.counts[name] += settled[name];
    const addTo = (sums: Record<string, number>, counts: Readonly<Record<string, number>>) => {
      for (const [name, count] of Object.entries(counts)) sums[name] = (sums[name] ?? 0) + count;
    };
    addTo(this.dropped, settled.books.dropped);
    addTo(this.also, settled.also ?? {});
    return this;
  }

  toString(): string {
    const { events, delivered, repeated, missing, unheard } = this.counts;
    const reasons = Object.entries(this.dropped).filter(([, count]) => count > 0);
    const dropped = reasons.map(([reason, count]) => `${count} ${reason}`).join(', ') || 'none';
    const absent = unheard > 0 ? `, ${unheard} while no agent listened` : '';
    const also = Object.entries(this.also).map(([name, count]) => `; ${name}: ${count}`);
    return `${this.runs} kills, ${events} events: ${delivered} delivered, ${repeated} repeated, ${missing} missing${absent}; dropped: ${dropped}${also.join('')}`;
  }
}

/** Kills agents, and reports the outcome of the events. */
export async function crash(options: Options): Promise<{ total: Total; violations: readonly string[] }> {
  const { runs, seed, say, source = 'auditLog', aggregated = false, alerts = false } = options;
  const began = systemClock.monotonic();
  const total = new Total();
  const violations: string[] = [];
  for (let number = 0; total.runs < runs && violations.length === 0; number += 1) {
    const name = `chain ${number}, seed ${seed + number}`;
    const settings = { source, aggregated, alerts, ...settingsOf(number, new Random(seed + number)) };
    say(`${name}: ${JSON.stringify(settings)}`);
    const kills = Math.min(alerts ? KILLS_PER_CHAIN_OF_ALERTS : KILLS_PER_CHAIN, runs - total.runs);
    const verdict = new Verdict(name, say);
    const chain = await Chain.open(seed + number, settings, kills, verdict);
    await runScenario(chain, verdict);
    if (chain.settled !== undefined) total.add(chain.kills, chain.settled);
    violations.push(...verdict.violations);
  }
  say(`in all: ${total}, ${Math.round(systemClock.monotonic() - began)} ms`);
  return { total, violations };
}

/** Settings that differ between chains, so that four chains cover each important value once. */
const settingsOf = (number: number, random: Random): Omit<Settings, keyof Kind> => {
  const isSmall = number % 4 === 3;
  return {
    priority: number % 2 === 0 ? 'Low' : 'High',
    faults: number % 4 !== 0,
    maxMessageSizeInBytes: isSmall ? 16_384 : random.pick([8_192, 16_384, 65_536]),
    maxLocalCacheSizeInBytes: isSmall ? 131_072 : 2_560_000,
  };
};

/** How an agent's life ends. Times count from its start, from when it works, and from SIGTERM. */
type End = { readonly when: 'starting' | 'working' | 'ending'; readonly afterMs: number };

/** An agent that is repeatedly killed and restarted on the same state directory. */
class Chain implements Scenario {
  kills = 0;
  /** The result of the last check. */
  settled: Settled | undefined;
  readonly #bed: TestBed;
  readonly #agent: CountedAgent;
  readonly #events: NumberedEvents;
  readonly #alerts: AlertLoad | undefined;
  readonly #random: Random;
  readonly #settings: Settings;
  /** The number of kills to do. */
  readonly #planned: number;
  readonly #verdict: Verdict;

  private constructor(bed: TestBed, random: Random, settings: Settings, kills: number, verdict: Verdict) {
    this.#bed = bed;
    this.#random = random;
    this.#settings = settings;
    this.#planned = kills;
    this.#verdict = verdict;
    const { source, aggregated } = settings;
    const alerts = settings.alerts ? new AlertLoad(join(bed.directory, 'rules.d'), random) : undefined;
    this.#alerts = alerts;
    const of = alerts === undefined ? { distinct: !aggregated } : { distinct: false, argument: () => alerts.next() };
    this.#events =
      source === 'auditLog' ? new NumberedLog(join(bed.directory, 'host'), random, of) : new NumberedStarts();
    this.#agent = new CountedAgent({
      bed,
      events: this.#events,
      ledger: alerts !== undefined ? new AlertLedger(alerts) : aggregated ? new CountLedger() : new Ledger(),
      counted: countedIn(settings),
      onExit: ({ log }) => alerts?.ended(log, this.#agent.stateDirectory),
    });
    const detections = alerts === undefined ? {} : { detections: { rulesDirectory: alerts.rulesDirectory } };
    bed.writeConfiguration({ hostRoot: this.#events.hostRoot, ...detections });
  }

  static async open(seed: number, settings: Settings, kills: number, verdict: Verdict): Promise<Chain> {
    const { aggregated, alerts, priority, maxMessageSizeInBytes, maxLocalCacheSizeInBytes } = settings;
    const desired = {
      highPriorityMessageFrequency: { value: 'PT1S' },
      lowPriorityMessageFrequency: { value: 'PT1S' },
      maxMessageSizeInBytes: { value: maxMessageSizeInBytes },
      maxLocalCacheSizeInBytes: { value: maxLocalCacheSizeInBytes },
      ...priorityOf(Object.keys(countedIn(settings)), priority),
      // Detections also receive events that are Off. The shipped rules evaluate snapshots of this machine.
      ...(alerts ? { ...priorityOf(Object.keys(COUNTED), 'Off'), detectionsMinimumLevel: { value: 'critical' } } : {}),
      aggregationEnabledProcessCreate: { value: aggregated },
      aggregationIntervalProcessCreate: { value: 'PT2S' },
      ...priorityOf(OFF, 'Off'),
    };
    return new Chain(await TestBed.open({ desired }), new Random(seed), settings, kills, verdict);
  }

  get directory(): string {
    return this.#bed.directory;
  }

  async begin(): Promise<void> {
    await this.#agent.start().waitForStatus(({ configuration }) => configuration.source === 'desired');
    await this.#agent.arrive();
    await this.#agent.stop();
  }

  *steps(): Iterable<Step> {
    const fault = once('kill', () => this.#kill());
    // The last kill of a chain with alerts is between the two halves of the attempts, after a clean stop.
    const last = this.#planned - (this.#settings.alerts ? 1 : 0);
    while (this.kills < last && this.#verdict.isPassed) yield { fault, check: () => this.#checkIfDue() };
  }

  async load(signal: AbortSignal): Promise<void> {
    this.#alerts?.begin();
    if (this.#random.chance(0.3)) this.#events.burst(this.#random.between(1, 30)); // while the agent was absent
    while (!signal.aborted) {
      if (this.#random.chance(0.05)) this.#events.disturb?.();
      this.#events.burst(this.#random.between(1, 15));
      if (this.#settings.faults && this.#random.chance(0.3)) await this.#disturbHub();
      await systemClock.sleep(milliseconds(this.#random.between(0, 400)), signal);
    }
  }

  async settle(): Promise<void> {
    if (!this.#verdict.isPassed) return;
    if (this.#alerts !== undefined) {
      await this.#check();
      await this.#killWithOpenWindows(this.#alerts);
    }
    await this.#check();
  }

  async close({ keep }: { keep: boolean }): Promise<void> {
    await this.#bed.close({ keep });
  }

  /** Starts the agent, and kills it. */
  async #kill(): Promise<void> {
    const agent = this.#agent.start();
    const { when, afterMs } = this.#chooseEnd();
    let leftAt = Number.POSITIVE_INFINITY;
    if (when !== 'starting') await this.#agent.listens();
    const heldUp = watchHeldUp(agent.pid);
    if (when === 'ending') {
      await systemClock.sleep(milliseconds(this.#random.between(0, 700)));
      leftAt = systemClock.monotonic();
      agent.kill('SIGTERM');
    }
    await systemClock.sleep(milliseconds(afterMs));
    leftAt = Math.min(leftAt, systemClock.monotonic() - STILL_TO_BE_READ - heldUp());
    agent.kill('SIGKILL');
    const { status, signal } = await agent.exited;
    if (signal !== 'SIGKILL' && !(when === 'ending' && status === 0))
      throw new Error(`the agent ended by itself, with ${status ?? signal}, and wrote:\n${agent.output}`);
    this.#killed(leftAt);
  }

  /** Opens windows that need further events to raise alerts, and kills the agent as soon as they are on disk. */
  async #killWithOpenWindows(alerts: AlertLoad): Promise<void> {
    alerts.begin();
    const agent = this.#agent.start();
    await this.#agent.listens();
    const { starts, isSaved } = alerts.halves();
    this.#events.burst(starts);
    await this.#events.complete();
    await agent.waitForStatus(() => isSaved(this.#agent.stateDirectory), SETTLES_WITHIN);
    agent.kill('SIGKILL');
    await agent.exited;
    this.#killed(systemClock.monotonic());
  }

  #killed(leftAt: number): void {
    this.#events.killed?.(this.#agent.stateDirectory);
    this.#agent.exited(leftAt);
    this.kills += 1;
  }

  async #checkIfDue(): Promise<void> {
    if (this.kills % KILLS_PER_CHECK === 0 && this.kills !== this.#planned) await this.#check();
  }

  /** Waits until the agent has done all its work, stops it, and compares its output with the events. */
  async #check(): Promise<void> {
    this.#bed.hub.faults.clear();
    await this.#bed.hub.online();
    this.#agent.start();
    await this.#agent.listens();
    this.settled = await this.#agent.settle(this.#alerts?.complete() || 1);
    this.#verdict.say(`  ${new Total().add(this.kills, this.settled)}`);
    this.#verdict.add(this.settled.violations);
  }

  #chooseEnd(): End {
    const when = this.#random.pick<End['when']>(['starting', 'working', 'working', 'working', 'ending']);
    // The agent needs some time between two kills to read the kernel's records.
    const longest = { starting: 1_500, working: this.#settings.source === 'auditLog' ? 1_500 : 4_000, ending: 600 };
    return { when, afterMs: this.#random.between(0, longest[when]) };
  }

  async #disturbHub(): Promise<void> {
    const { hub } = this.#bed;
    const disturbance = this.#random.pick(['late', 'reset', 'cut']);
    if (disturbance === 'late') {
      const [ms, durationMs] = [this.#random.between(50, 1_500), 2_000];
      hub.faults.inject({ kind: 'delayAcknowledgements', ms, durationMs });
    } else if (disturbance === 'reset') hub.faults.inject({ kind: 'resetOnPublish', count: 1 });
    else {
      await hub.offline();
      if (this.#random.chance(0.3)) await systemClock.sleep(milliseconds(this.#random.between(0, 500)));
      await hub.online();
    }
  }
}

const countedIn = ({ alerts }: Kind): Readonly<Record<string, string>> =>
  alerts ? { SecurityAlert: 'CommandLine' } : COUNTED;
