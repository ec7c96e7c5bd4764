import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { LocalStatus } from '../../../src/agent/status/schema.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { seconds } from '../../../src/core/base/duration.ts';
import type { Payload } from '../../../src/core/contract/event.ts';
import type { HubEmulator } from '../../../src/emulator/hub.ts';
import type { ReceivedMessage } from '../../../src/emulator/message-log.ts';
import type { AgentProcess, Launch, LogRecord, TestBed } from '../../integration/test-bed.ts';
import { type Attempt, reading } from './launch.ts';
import { type Books, booksOf, COUNTED, type EventLedger, type Findings, Ledger } from './ledger.ts';
import { MARK, type NumberedEvents } from './numbered-events.ts';

const STARTS_WITHIN = seconds(60);
const SETTLES_WITHIN = seconds(240);

interface Setup {
  readonly bed: TestBed;
  /** The hubs that may receive its messages. Default: the test bed's. */
  readonly hubs?: readonly HubEmulator[];
  readonly events: NumberedEvents;
  readonly ledger?: EventLedger;
  /** The events whose accounts are checked, with the field that has the number. Default: COUNTED. */
  readonly counted?: Readonly<Record<string, string>>;
  /** Called for each connection that it attempts. */
  readonly onAttempt?: (attempt: Attempt) => void;
  /** Called when a process of it has exited. */
  readonly onExit?: (process: AgentProcess) => void;
}

/** The result once everything is delivered. */
export interface Settled extends Findings {
  readonly events: number;
  readonly books: Books;
}

/** An agent that reads numbered events, in one process after another, and a ledger of the events that the hubs received. */
export class CountedAgent {
  readonly events: NumberedEvents;
  readonly #setup: Setup;
  readonly #ledger: EventLedger;
  readonly #processes: AgentProcess[] = [];
  /** Counted over all hubs. */
  #messages = 0;
  #newestReceived = -1;
  /** Start of the time without a process that reads events; `undefined` while one reads. */
  #absentSince: number | undefined;

  constructor(setup: Setup) {
    const { bed, events, hubs = [bed.hub], ledger = new Ledger() } = setup;
    this.#setup = setup;
    this.#ledger = ledger;
    this.events = events;
    for (const hub of hubs) this.#listen(hub);
  }

  get process(): AgentProcess {
    const process = this.#processes.at(-1);
    if (process === undefined) throw new Error('the agent has not been started');
    return process;
  }

  /** The log of all its processes. */
  get log(): readonly LogRecord[] {
    return this.#processes.flatMap(({ log }) => log);
  }

  get stateDirectory(): string {
    return join(this.#setup.bed.directory, 'state');
  }

  /** Starts a process. The previous one must have exited. */
  start(launch: Launch = {}): AgentProcess {
    const { bed, events, onAttempt } = this.#setup;
    const process = bed.startAgent({ ...launch, ...reading(events, onAttempt) });
    this.#processes.push(process);
    return process;
  }

  /** Resolves when the process reads the events. */
  async listens(): Promise<void> {
    const expected = this.events.isComplete ? 'auditLog' : 'auditUnicast';
    await this.process.waitForLog(
      ({ msg, source }) =>
        source === expected && (msg === 'Events are incomplete.' || msg === 'The source of events has changed.'),
      STARTS_WITHIN,
    );
    if (this.#absentSince !== undefined) this.#ledger.absent?.(this.#absentSince, systemClock.monotonic());
    this.#absentSince = undefined;
  }

  /** Resolves when the process has read an event: until then, it starts to read a log at its end. */
  async arrive(): Promise<void> {
    await this.listens();
    await this.#happen(1);
    await this.process.waitForStatus(() => this.events.isRead(this.stateDirectory), STARTS_WITHIN);
  }

  /** Stops the process as a service manager does. */
  async stop(): Promise<void> {
    const faults = await this.#terminate();
    if (faults.length > 0) throw new Error(faults.join());
  }

  /** Records that the process has exited. @param leftAt from when it may not have read events, by the monotonic clock */
  exited(leftAt: number): void {
    this.#absentSince ??= leftAt;
    this.#setup.onExit?.(this.process);
  }

  /** Whether a hub has an event with this number or a higher one. */
  hasDelivered(number: number): boolean {
    return this.#newestReceived >= number;
  }

  /**
   * Lets the agent deliver all events, stops it, and compares its output with the events.
   *
   * @param last number of events to generate before: the last one makes the agent store how far it has read
   */
  async settle(last = 1): Promise<Settled> {
    await this.#happen(last);
    // Only a later status includes the last events: an earlier one may show empty queues.
    await this.process.waitForStatus(() => this.events.isRead(this.stateDirectory), SETTLES_WITHIN);
    const status = await this.process.waitForStatus((now) => this.#isDone(now), SETTLES_WITHIN);
    const faults = await this.#terminate();
    const books = this.#booksOf(status);
    const findings = this.#ledger.compare(this.events, books);
    return { ...findings, violations: [...findings.violations, ...faults], events: this.events.appended, books };
  }

  async #terminate(): Promise<string[]> {
    const leftAt = systemClock.monotonic();
    this.process.kill('SIGTERM');
    const { status } = await this.process.exited;
    this.exited(leftAt);
    return status === 0 ? [] : [`SIGTERM ended it with ${status}`];
  }

  /**
   * The kernel's audit does not show how far it was read. But events keep their order: after the last one, all were
   * read.
   */
  async #happen(count: number): Promise<void> {
    this.events.burst(count);
    await this.events.complete();
    if (this.events.isComplete) return;
    const last = `${MARK}${this.events.appended - 1}`;
    const isLast = ({ CommandLine }: Payload) => String(CommandLine).endsWith(last);
    const { bed } = this.#setup;
    await bed.waitForEvents(() => bed.elements('ProcessCreate').some(isLast), SETTLES_WITHIN);
  }

  #listen(hub: HubEmulator): void {
    hub.on('message', ({ body }: ReceivedMessage) => {
      this.#messages += 1;
      this.#ledger.received(this.#messages, body);
      for (const [, number] of body.matchAll(new RegExp(`${MARK}(\\d+)`, 'g')))
        this.#newestReceived = Math.max(this.#newestReceived, Number(number));
    });
    hub.on('connection', () => this.#ledger.connected?.());
  }

  #isDone(status: LocalStatus): boolean {
    const holds = existsSync(join(this.stateDirectory, 'held-logins.json'));
    const isRead = this.events.isRead(this.stateDirectory);
    return status.hub.state === 'connected' && isRead && !holds && this.#booksOf(status).queued === 0;
  }

  #booksOf(status: LocalStatus): Books {
    return booksOf(status, this.#setup.counted ?? COUNTED);
  }
}
