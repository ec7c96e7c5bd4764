import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import { milliseconds, seconds } from '../../src/base/duration.ts';
import type { ResumePoint } from '../../src/linux/audit/log-tail.ts';
import type { LocalStatus } from '../../src/status.ts';
import { type AgentProcess, type LogRecord, TestBed } from '../integration/test-bed.ts';
import { type Books, type Findings, Ledger } from './ledger.ts';
import { NumberedLog } from './numbered-log.ts';
import { Random } from './random.ts';

const TELL_STARTS = new URL('./tell-starts.js', import.meta.url).pathname;
const SETPRIV = '/usr/bin/setpriv';
const IS_ROOT = process.getuid?.() === 0;
/** Root may have the kernel's own audit, which would be preferred to its log. */
const WITHOUT_CAPABILITIES = IS_ROOT ? [SETPRIV, '--bounding-set=-all', '--inh-caps=-all'] : [];

/** What keeps a chain from being run here. */
export const missingForCrash = (): string | undefined =>
  IS_ROOT && !existsSync(SETPRIV) ? `this is root, and there is no ${SETPRIV} to give its capabilities up` : undefined;

/** Everything but what is counted is off. */
const OFF = [
  ...['ProcessTerminate', 'ConnectionCreate', 'Login', 'ListeningPorts', 'LocalUsers', 'FirewallConfiguration'],
  ...['SystemInformation', 'ConnectedHardware', 'Diagnostic', 'DroppedEventsStatistics', 'MessageStatistics'],
];

const SETTLES_WITHIN = seconds(120);

export interface Settings {
  /** The queue of the numbered events. */
  readonly priority: 'High' | 'Low';
  /** Whether acknowledgements come late, connections are reset at a message, and the hub goes away now and again. */
  readonly faults: boolean;
  /** How large messages, and the queues, may become. */
  readonly maxMessageSizeInBytes: number;
  readonly maxLocalCacheSizeInBytes: number;
}

/** How an agent's life ends. Times count from its start, from when it works, and from SIGTERM. */
type End = { readonly when: 'starting' | 'working' | 'ending'; readonly afterMs: number };

/** An agent that is killed and started anew on the same state directory, again and again. */
export class Chain {
  /** Begins with the first kill. */
  kills = 0;
  readonly #bed: TestBed;
  readonly #log: NumberedLog;
  readonly #ledger = new Ledger();
  readonly #random: Random;
  readonly #settings: Settings;

  private constructor(bed: TestBed, random: Random, settings: Settings) {
    this.#bed = bed;
    this.#random = random;
    this.#settings = settings;
    this.#log = new NumberedLog(join(bed.directory, 'host'), random);
    bed.writeConfiguration({ hostRoot: this.#log.root });
    bed.hub.on('message', ({ sequence, body }) => this.#ledger.received(sequence, body));
    bed.hub.on('connection', () => this.#ledger.connected());
  }

  static async begin(seed: number, settings: Settings): Promise<Chain> {
    const { priority, maxMessageSizeInBytes, maxLocalCacheSizeInBytes } = settings;
    const desired = {
      highPriorityMessageFrequency: { value: 'PT1S' },
      lowPriorityMessageFrequency: { value: 'PT1S' },
      maxMessageSizeInBytes: { value: maxMessageSizeInBytes },
      maxLocalCacheSizeInBytes: { value: maxLocalCacheSizeInBytes },
      eventPriorityProcessCreate: { value: priority },
      aggregationEnabledProcessCreate: { value: false },
      ...Object.fromEntries(OFF.map((event) => [`eventPriority${event}`, { value: 'Off' }])),
    };
    const chain = new Chain(await TestBed.open({ desired }), new Random(seed), settings);
    await chain.#arrive();
    return chain;
  }

  get directory(): string {
    return this.#bed.directory;
  }

  get appended(): number {
    return this.#log.appended;
  }

  /** Starts the agent, lets things happen, and kills it. */
  async kill(): Promise<void> {
    const agent = this.#start();
    const { when, afterMs } = this.#chooseEnd();
    const killed = new AbortController();
    const happening = this.#happen(killed.signal);
    try {
      if (when !== 'starting') await works(agent);
      if (when === 'ending') {
        await this.#pause(this.#random.between(0, 700));
        agent.kill('SIGTERM');
      }
      await this.#pause(afterMs);
      agent.kill('SIGKILL');
      const { status, signal } = await agent.exited;
      if (signal !== 'SIGKILL' && !(when === 'ending' && status === 0))
        throw new Error(`the agent ended by itself, with ${status ?? signal}, and wrote:\n${agent.output}`);
    } finally {
      killed.abort();
      await happening;
    }
    this.#ledger.killed(this.#readTo());
    this.kills += 1;
  }

  /** Lets the agent do all its work, ends it with SIGTERM, and holds what came out against what happened. */
  async settle(): Promise<Findings & { readonly books: Books }> {
    this.#bed.hub.faults.clear();
    await this.#bed.hub.online();
    const agent = this.#start();
    await works(agent);
    this.#log.burst(1); // with the last one the agent notes how far it has read
    this.#log.complete();
    const status = await agent.waitForStatus((now) => this.#isDone(now), SETTLES_WITHIN);
    agent.kill('SIGTERM');
    const { status: exit } = await agent.exited;
    const books = booksOf(status);
    const findings = this.#ledger.judge(this.#log.appended, (number) => this.#log.endOf(number), books);
    const violations = [...findings.violations, ...(exit === 0 ? [] : [`SIGTERM ended it with ${exit}`])];
    return { ...findings, violations, books };
  }

  /** @param keep leave its files for who wants to look into them */
  async end({ keep = false } = {}): Promise<void> {
    await this.#bed.close({ keep });
  }

  /** Before the first time that an agent has read the log to its end, it begins there. */
  async #arrive(): Promise<void> {
    const agent = this.#start();
    await works(agent);
    await agent.waitForStatus(({ configuration }) => configuration.source === 'desired');
    this.#log.burst(1);
    this.#log.complete();
    await agent.waitForStatus(() => this.#readTo() === this.#log.end);
    agent.kill('SIGTERM');
    await agent.exited;
  }

  #start(): AgentProcess {
    return this.#bed.startAgent({
      through: WITHOUT_CAPABILITIES,
      options: ['--import', TELL_STARTS],
      heard: (line) => {
        const { pid, argv } = JSON.parse(line) as { pid: number; argv: string[] };
        this.#log.ran(pid, argv);
      },
    });
  }

  #chooseEnd(): End {
    const when = this.#random.pick<End['when']>(['starting', 'working', 'working', 'working', 'ending']);
    return { when, afterMs: this.#random.between(0, when === 'ending' ? 600 : 1_500) };
  }

  async #happen(signal: AbortSignal): Promise<void> {
    const { faults } = this.#settings;
    if (this.#random.chance(0.3)) this.#log.burst(this.#random.between(1, 30)); // while it was away
    while (!signal.aborted) {
      if (this.#random.chance(0.05)) this.#log.rotate();
      this.#log.burst(this.#random.between(1, 15));
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

  /** How far the agent has noted to have read the log. */
  #readTo(): number {
    try {
      const note = JSON.parse(readFileSync(join(this.#bed.directory, 'state/audit-checkpoint.json'), 'utf8'));
      const { log } = note as { log: ResumePoint };
      return this.#log.placeOf(log.told ?? log) ?? 0;
    } catch {
      return 0;
    }
  }

  #isDone(status: LocalStatus): boolean {
    return this.#readTo() === this.#log.end && booksOf(status).queued === 0;
  }
}

async function works(agent: AgentProcess): Promise<void> {
  const { source } = (await agent.waitForLog(
    ({ msg }) => msg === 'Events are incomplete.' || msg === 'The source of events has changed.',
  )) as LogRecord & { source?: string };
  if (source !== 'auditLog') throw new Error(`the agent reads ${source}, not the log:\n${agent.output}`);
}

/** Of the numbered events' kind; a loss that nobody can name counts for it, since there is no other. */
function booksOf({ events }: LocalStatus): Books {
  const none: Books = { collected: 0, delivered: 0, aggregatedAway: 0, queued: 0, dropped: {} };
  const { ProcessCreate: one = none, Unidentified: other = none } = events as Record<string, Books>;
  const reasons = new Set([...Object.keys(one.dropped), ...Object.keys(other.dropped)]);
  return {
    collected: one.collected + other.collected,
    delivered: one.delivered + other.delivered,
    aggregatedAway: one.aggregatedAway + other.aggregatedAway,
    queued: one.queued + other.queued,
    dropped: Object.fromEntries(
      [...reasons].map((reason) => [reason, (one.dropped[reason] ?? 0) + (other.dropped[reason] ?? 0)]),
    ),
  };
}
