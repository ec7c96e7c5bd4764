import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { LocalStatus } from '../../../src/agent/status/schema.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { UNIDENTIFIED } from '../../../src/core/base/counters.ts';
import { milliseconds, seconds } from '../../../src/core/base/duration.ts';
import type { Payload } from '../../../src/core/contract/event.ts';
import { type AgentProcess, TestBed } from '../../integration/test-bed.ts';
import { watchHeldUp } from '../held-up.ts';
import { AlertLedger } from './alert-ledger.ts';
import { AlertLoad } from './alert-load.ts';
import { CountLedger } from './count-ledger.ts';
import { type Books, COUNTED, type Findings, type Judge, Ledger } from './ledger.ts';
import { MARK, type NumberedEvents } from './numbered-events.ts';
import { NumberedLog } from './numbered-log.ts';
import { NumberedStarts } from './numbered-starts.ts';
import { Random } from './random.ts';

export const TELL_STARTS = new URL('./tell-starts.js', import.meta.url).pathname;
const SETPRIV = '/usr/bin/setpriv';
const IS_ROOT = process.getuid?.() === 0;
/** Root has access to the kernel's own audit, which the agent would prefer to auditd's log. */
export const WITHOUT_CAPABILITIES = IS_ROOT ? [SETPRIV, '--bounding-set=-all', '--inh-caps=-all'] : [];

/** The reason why a chain can't be run here. */
export const missingForCrash = (): string | undefined =>
  IS_ROOT && !existsSync(SETPRIV) ? `this is root, and there is no ${SETPRIV} to give its capabilities up` : undefined;

/** The reason why a chain with alerts can't be run here: its alerts are raised by custom rules. */
export const missingForOwnRules = (): string | undefined =>
  IS_ROOT ? undefined : "own rules must belong to root, and this isn't root";

/** Disables all events except the counted ones. */
export const OFF = [
  ...['ProcessTerminate', 'ConnectionCreate', 'ListeningPorts', 'LocalUsers', 'FirewallConfiguration'],
  ...['SystemInformation', 'ConnectedHardware', 'Diagnostic', 'DroppedEventsStatistics', 'MessageStatistics'],
];

const STARTS_WITHIN = seconds(60);
const SETTLES_WITHIN = seconds(120);
/** Maximum delay until the agent has read an event of the kernel's audit: 0.75 s, and a margin. */
const STILL_TO_BE_READ = milliseconds(1_250);

export interface Settings {
  /** Where events come from: a log of auditd's, or the kernel itself. */
  readonly source: 'auditLog' | 'auditUnicast';
  /** Whether they are counted by the agent, or sent one by one. */
  readonly aggregated: boolean;
  /** Whether alerts that are raised by the events are counted, instead of the events. */
  readonly alerts: boolean;
  /** The queue of the counted events. */
  readonly priority: 'High' | 'Low';
  /** Whether acknowledgements arrive late, connections are reset at a message, and the hub is unavailable at times. */
  readonly faults: boolean;
  /** Maximum sizes of messages and of the queues. */
  readonly maxMessageSizeInBytes: number;
  readonly maxLocalCacheSizeInBytes: number;
}

/** How an agent's life ends. Times count from its start, from when it works, and from SIGTERM. */
type End = { readonly when: 'starting' | 'working' | 'ending'; readonly afterMs: number };

/** An agent that is repeatedly killed and restarted on the same state directory. */
export class Chain {
  kills = 0;
  readonly #bed: TestBed;
  readonly #events: NumberedEvents;
  readonly #ledger: Judge;
  readonly #load: AlertLoad | undefined;
  readonly #random: Random;
  readonly #settings: Settings;
  /** Start of the time without a listening agent; `undefined` while one listens. */
  #leftAt: number | undefined;

  private constructor(bed: TestBed, random: Random, settings: Settings) {
    this.#bed = bed;
    this.#random = random;
    this.#settings = settings;
    const { source, aggregated, alerts } = settings;
    const load = alerts ? new AlertLoad(join(bed.directory, 'rules.d'), random) : undefined;
    this.#load = load;
    const of = load === undefined ? { distinct: !aggregated } : { distinct: false, argument: () => load.next() };
    this.#events =
      source === 'auditLog' ? new NumberedLog(join(bed.directory, 'host'), random, of) : new NumberedStarts();
    this.#ledger = load !== undefined ? new AlertLedger(load) : aggregated ? new CountLedger() : new Ledger();
    const detections = load === undefined ? {} : { detections: { rulesDirectory: load.rulesDirectory } };
    bed.writeConfiguration({ hostRoot: this.#events.hostRoot, ...detections });
    bed.hub.on('message', ({ sequence, body }) => this.#ledger.received(sequence, body));
    bed.hub.on('connection', () => this.#ledger.connected());
  }

  static async begin(seed: number, settings: Settings): Promise<Chain> {
    const { aggregated, alerts, priority, maxMessageSizeInBytes, maxLocalCacheSizeInBytes } = settings;
    const counted = Object.keys(alerts ? ALERTS : COUNTED);
    const desired = {
      highPriorityMessageFrequency: { value: 'PT1S' },
      lowPriorityMessageFrequency: { value: 'PT1S' },
      maxMessageSizeInBytes: { value: maxMessageSizeInBytes },
      maxLocalCacheSizeInBytes: { value: maxLocalCacheSizeInBytes },
      ...valuesOf(counted, priority),
      // Detections also receive events that are Off. The shipped rules evaluate snapshots of this machine.
      ...(alerts ? { ...valuesOf(Object.keys(COUNTED), 'Off'), detectionsMinimumLevel: { value: 'critical' } } : {}),
      aggregationEnabledProcessCreate: { value: aggregated },
      aggregationIntervalProcessCreate: { value: 'PT2S' },
      ...valuesOf(OFF, 'Off'),
    };
    const chain = new Chain(await TestBed.open({ desired }), new Random(seed), settings);
    await chain.#arrive();
    return chain;
  }

  get directory(): string {
    return this.#bed.directory;
  }

  get appended(): number {
    return this.#events.appended;
  }

  /** Starts the agent, generates events, and kills it. */
  async kill(): Promise<void> {
    this.#load?.begin();
    const agent = this.#start();
    const { when, afterMs } = this.#chooseEnd();
    const killed = new AbortController();
    let leftAt = Number.POSITIVE_INFINITY;
    const happening = this.#happen(killed.signal);
    try {
      if (when !== 'starting') await this.#works(agent);
      const heldUp = watchHeldUp(agent.pid);
      if (when === 'ending') {
        await this.#pause(this.#random.between(0, 700));
        leftAt = systemClock.monotonic();
        agent.kill('SIGTERM');
      }
      await this.#pause(afterMs);
      leftAt = Math.min(leftAt, systemClock.monotonic() - STILL_TO_BE_READ - heldUp());
      agent.kill('SIGKILL');
      const { status, signal } = await agent.exited;
      if (signal !== 'SIGKILL' && !(when === 'ending' && status === 0))
        throw new Error(`the agent ended by itself, with ${status ?? signal}, and wrote:\n${agent.output}`);
    } finally {
      killed.abort();
      await happening;
    }
    this.#events.killed(this.#stateDirectory);
    this.#load?.ended(agent.log, this.#stateDirectory);
    this.#leftAt ??= leftAt;
    this.kills += 1;
  }

  /** Opens windows that need further events to raise alerts, and kills the agent as soon as they are on disk. */
  async killWithOpenWindows(): Promise<void> {
    assert.ok(this.#load !== undefined);
    const agent = this.#start();
    await this.#works(agent);
    const { starts, isSaved } = this.#load.halves();
    this.#events.burst(starts);
    await this.#events.complete();
    await agent.waitForStatus(() => isSaved(this.#stateDirectory), SETTLES_WITHIN);
    agent.kill('SIGKILL');
    await agent.exited;
    this.#events.killed(this.#stateDirectory);
    this.#load.ended(agent.log, this.#stateDirectory);
    this.#leftAt = systemClock.monotonic();
    this.kills += 1;
  }

  /** Waits until the agent has done all its work, stops it with SIGTERM, and compares its output with the events. */
  async settle(): Promise<Findings & { readonly books: Books }> {
    this.#bed.hub.faults.clear();
    await this.#bed.hub.online();
    const agent = this.#start();
    await this.#works(agent);
    this.#events.burst(this.#load?.complete() || 1); // the last event makes the agent store how far it has read
    await this.#events.complete();
    await this.#lastHasCome();
    // Only a later status includes the last events: an earlier one may show empty queues.
    await agent.waitForStatus(() => this.#events.isRead(this.#stateDirectory), SETTLES_WITHIN);
    const status = await agent.waitForStatus((now) => this.#isDone(now), SETTLES_WITHIN);
    this.#leftAt = systemClock.monotonic();
    agent.kill('SIGTERM');
    const { status: exit } = await agent.exited;
    this.#load?.ended(agent.log, this.#stateDirectory);
    const books = this.#booksOf(status);
    const findings = this.#ledger.judge(this.#events, books);
    const violations = [...findings.violations, ...(exit === 0 ? [] : [`SIGTERM ended it with ${exit}`])];
    return { ...findings, violations, books };
  }

  /** @param keep leave its files for analysis */
  async end({ keep = false } = {}): Promise<void> {
    await this.#bed.close({ keep });
  }

  /** Until an agent has once read the log to its end, it starts reading at the end. */
  async #arrive(): Promise<void> {
    const agent = this.#start();
    await this.#works(agent);
    await agent.waitForStatus(({ configuration }) => configuration.source === 'desired');
    this.#events.burst(1);
    await this.#events.complete();
    await agent.waitForStatus(() => this.#events.isRead(this.#stateDirectory));
    await this.#lastHasCome();
    agent.kill('SIGTERM');
    await agent.exited;
    this.#leftAt = systemClock.monotonic();
  }

  /**
   * The kernel's audit does not show how far it was read. But events keep their order: after the last one, all were
   * read.
   */
  async #lastHasCome(): Promise<void> {
    if (this.#settings.source === 'auditLog') return;
    const last = `${MARK}${this.appended - 1}`;
    const isIt = ({ CommandLine }: Payload) => String(CommandLine).endsWith(last);
    await this.#bed.waitForEvents(() => this.#bed.elements('ProcessCreate').some(isIt), SETTLES_WITHIN);
  }

  /** Resolves when it listens. */
  async #works(agent: AgentProcess): Promise<void> {
    const { source } = await agent.waitForLog(
      ({ msg }) => msg === 'Events are incomplete.' || msg === 'The source of events has changed.',
      STARTS_WITHIN,
    );
    if (source !== this.#settings.source) throw new Error(`the agent has ${source} as its source:\n${agent.output}`);
    if (this.#leftAt !== undefined) this.#ledger.absent(this.#leftAt, systemClock.monotonic());
    this.#leftAt = undefined;
  }

  get #stateDirectory(): string {
    return join(this.#bed.directory, 'state');
  }

  #start(): AgentProcess {
    return this.#bed.startAgent({
      through: this.#settings.source === 'auditLog' ? WITHOUT_CAPABILITIES : [],
      options: ['--import', TELL_STARTS],
      onLine: (line) => {
        const { pid, argv } = JSON.parse(line) as { pid: number; argv: string[] };
        this.#events.ran?.(pid, argv);
      },
    });
  }

  #chooseEnd(): End {
    const when = this.#random.pick<End['when']>(['starting', 'working', 'working', 'working', 'ending']);
    // The agent needs some time between two kills to read the kernel's records.
    const longest = { starting: 1_500, working: this.#settings.source === 'auditLog' ? 1_500 : 4_000, ending: 600 };
    return { when, afterMs: this.#random.between(0, longest[when]) };
  }

  async #happen(signal: AbortSignal): Promise<void> {
    const { faults } = this.#settings;
    if (this.#random.chance(0.3)) this.#events.burst(this.#random.between(1, 30)); // while it was away
    while (!signal.aborted) {
      if (this.#random.chance(0.05)) this.#events.disturb?.();
      this.#events.burst(this.#random.between(1, 15));
      if (faults && this.#random.chance(0.3)) await this.#trouble();
      await systemClock.sleep(milliseconds(this.#random.between(0, 400)), signal);
    }
  }

  async #trouble(): Promise<void> {
    const { hub } = this.#bed;
    const trouble = this.#random.pick(['late', 'reset', 'cut']);
    if (trouble === 'late') {
      const [ms, durationMs] = [this.#random.between(50, 1_500), 2_000];
      hub.faults.inject({ kind: 'delayAcknowledgements', ms, durationMs });
    } else if (trouble === 'reset') hub.faults.inject({ kind: 'resetOnPublish', count: 1 });
    else {
      await hub.offline();
      if (this.#random.chance(0.3)) await systemClock.sleep(milliseconds(this.#random.between(0, 500)));
      await hub.online();
    }
  }

  async #pause(ms: number): Promise<void> {
    await systemClock.sleep(milliseconds(ms));
  }

  #isDone(status: LocalStatus): boolean {
    const holds = existsSync(join(this.#stateDirectory, 'held-logins.json'));
    return this.#events.isRead(this.#stateDirectory) && !holds && this.#booksOf(status).queued === 0;
  }

  #booksOf(status: LocalStatus): Books {
    return booksOf(status, this.#load === undefined ? COUNTED : ALERTS);
  }
}

/** Counted events in runs with alerts. */
const ALERTS = { SecurityAlert: 'CommandLine' };

const valuesOf = (events: readonly string[], value: string) =>
  Object.fromEntries(events.map((event) => [`eventPriority${event}`, { value }]));

/** Losses of counted events, including unnamed losses, since there are no other events. */
export function booksOf({ events }: LocalStatus, counted: Readonly<Record<string, string>> = COUNTED): Books {
  const books = { collected: 0, delivered: 0, aggregatedAway: 0, queued: 0 };
  const dropped: Record<string, number> = {};
  for (const name of [...Object.keys(counted), UNIDENTIFIED]) {
    const row = events[name];
    if (row === undefined) continue;
    for (const column of ['collected', 'delivered', 'aggregatedAway', 'queued'] as const) books[column] += row[column];
    for (const [reason, count] of Object.entries(row.dropped)) dropped[reason] = (dropped[reason] ?? 0) + count;
  }
  return { ...books, dropped };
}
