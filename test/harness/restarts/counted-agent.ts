import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { LocalStatus } from '../../../src/agent/status/schema.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { type Duration, milliseconds, seconds } from '../../../src/core/base/duration.ts';
import type { HubEmulator } from '../../../src/emulator/hub.ts';
import type { ReceivedMessage } from '../../../src/emulator/message-log.ts';
import type { AgentProcess, Launch, LogRecord } from '../../integration/test-bed.ts';
import { booksOf, OFF, TELL_STARTS, WITHOUT_CAPABILITIES } from '../crash/chain.ts';
import { COUNTED, type Findings, Ledger } from '../crash/ledger.ts';
import { MARK } from '../crash/numbered-events.ts';
import { NumberedLog } from '../crash/numbered-log.ts';
import type { Random } from '../crash/random.ts';
import type { Attempt } from './attempts.ts';
import { type Site, TELL_CONNECTIONS } from './site.ts';

/** Settings by which events are sent one by one, with a message each second. */
export const EACH_EVENT = {
  highPriorityMessageFrequency: { value: 'PT1S' },
  lowPriorityMessageFrequency: { value: 'PT1S' },
  ...Object.fromEntries(Object.keys(COUNTED).map((event) => [`eventPriority${event}`, { value: 'High' }])),
  aggregationEnabledProcessCreate: { value: false },
  ...Object.fromEntries(OFF.map((event) => [`eventPriority${event}`, { value: 'Off' }])),
};

const STARTS_WITHIN = seconds(60);
const SETTLES_WITHIN = seconds(240);

/** A configuration of the agent with changed `hub` and `identity`. */
export interface Changes {
  readonly hub?: object;
  readonly identity?: object;
}

/** The final result. */
export interface Settled extends Findings {
  readonly events: number;
}

/** The agent of a site whose events are numbered, and the events that the hubs have received. */
export class CountedAgent {
  readonly events: NumberedLog;
  readonly #site: Site;
  readonly #random: Random;
  readonly #ledger = new Ledger();
  readonly #processes: AgentProcess[] = [];
  /** Counted over all hubs. */
  #messages = 0;
  #newestReceived = -1;

  constructor(site: Site, random: Random) {
    this.#site = site;
    this.#random = random;
    this.events = new NumberedLog(join(site.bed.directory, 'host'), random);
    for (const hub of site.hubs) this.#listen(hub);
  }

  get process(): AgentProcess {
    const process = this.#processes.at(-1);
    if (process === undefined) throw new Error('the agent has not been launched');
    return process;
  }

  /** The log of all its processes. */
  get log(): readonly LogRecord[] {
    return this.#processes.flatMap(({ log }) => log);
  }

  /** Starts a process of the agent. The previous one must have exited. */
  launch({ hub, identity }: Changes = {}, launch: Launch = this.#site.launch): AgentProcess {
    const { bed, configuration } = this.#site;
    bed.writeConfiguration({
      hub: { ...configuration.hub, ...hub },
      identity: { ...configuration.identity, ...identity },
      hostRoot: this.events.hostRoot,
    });
    const process = bed.startAgent({
      ...launch,
      through: WITHOUT_CAPABILITIES,
      options: ['--import', TELL_STARTS, '--import', TELL_CONNECTIONS],
      onLine: (line) => this.#heard(line),
    });
    this.#processes.push(process);
    return process;
  }

  /** Stops its process as a service manager does. */
  async end(): Promise<void> {
    this.process.kill('SIGTERM');
    const { status } = await this.process.exited;
    if (status !== 0) throw new Error(`SIGTERM ended it with ${status}`);
  }

  /**
   * Resolves when the agent reads the numbered events: until it has read them once, it starts at the end of the log.
   */
  async arrive(): Promise<void> {
    await this.process.waitForLog(
      ({ msg, source }) =>
        source === 'auditLog' && (msg === 'Events are incomplete.' || msg === 'The source of events has changed.'),
      STARTS_WITHIN,
    );
    this.events.burst(1);
    await this.events.complete();
    await this.process.waitForStatus(() => this.events.isRead(this.#stateDirectory), STARTS_WITHIN);
  }

  /** Generates events until `signal` aborts. */
  async happen(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (this.#random.chance(0.02)) this.events.disturb();
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

  /** Whether a hub has an event with this number or a higher one. */
  hasDelivered(number: number): boolean {
    return this.#newestReceived >= number;
  }

  /** Lets the agent deliver all events, stops it with SIGTERM, and compares its output with the events. */
  async settle(): Promise<Settled> {
    this.events.burst(1); // the last event makes the agent store how far it has read
    await this.events.complete();
    const status = await this.process.waitForStatus((now) => this.#isDone(now), SETTLES_WITHIN);
    this.process.kill('SIGTERM');
    const { status: exit } = await this.process.exited;
    const findings = this.#ledger.judge(this.events, booksOf(status));
    const violations = [
      ...findings.violations,
      ...(findings.missing > 0 ? [`${findings.missing} events are missing`] : []),
      ...(exit === 0 ? [] : [`SIGTERM ended it with ${exit}`]),
    ];
    return { ...findings, violations, events: this.events.appended };
  }

  get #stateDirectory(): string {
    return join(this.#site.bed.directory, 'state');
  }

  #heard(line: string): void {
    const told = JSON.parse(line) as Attempt | { pid: number; argv: string[] };
    if ('port' in told) this.#site.heard(told);
    else this.events.ran(told.pid, told.argv);
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

  #isDone(status: LocalStatus): boolean {
    const holds = existsSync(join(this.#stateDirectory, 'held-logins.json'));
    return (
      status.hub.state === 'connected' &&
      this.events.isRead(this.#stateDirectory) &&
      !holds &&
      booksOf(status).queued === 0
    );
  }
}
