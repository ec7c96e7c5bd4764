import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { collectors } from '../../src/agent/collectors/index.ts';
import { readLine } from '../../src/agent/commands/verify-chain/record.ts';
import { verifyChains } from '../../src/agent/commands/verify-chain/verify.ts';
import type { LocalStatus } from '../../src/agent/status/schema.ts';
import { type Clock, systemClock, TimeLimitError } from '../../src/core/base/clock.ts';
import { askControlSocket } from '../../src/core/base/control-socket.ts';
import { type Duration, milliseconds, minutes } from '../../src/core/base/duration.ts';
import type { Envelope, Payload } from '../../src/core/contract/event.ts';
import { type EmulatorOptions, HubEmulator } from '../../src/emulator/hub.ts';
import { recordOf } from '../../src/emulator/message-log.ts';
import { validateStatus } from '../agent/status/schema.ts';
import { markTestRun } from '../harness/test-run.ts';
import { faultsIn } from '../message-schema.ts';
import { nodeFlagsOf } from '../node-flags.ts';

/** Default time limit of the waits for an agent: a loaded machine may take long to start it. */
const WAIT = minutes(1);

export const DEVICE = 'device1';
export const MODULE = 'azureiotsecurity';
export const OBJECT = 'ms_iotn:urn_azureiot_Security_SecurityAgentConfiguration';
/** The program of a clone, with all commands; the shipped program lacks those of the demo, the emulator and a fleet. */
export const CLONE_PROGRAM = new URL('../../src/main.js', import.meta.url).pathname;
/** The tested program: the shipped one, or that of this clone. */
export const PROGRAM = process.env.VAKT_PROGRAM ?? CLONE_PROGRAM;

/** Quick, for tests: messages every second, no aggregation. */
export const QUICK = {
  highPriorityMessageFrequency: { value: 'PT1S' },
  lowPriorityMessageFrequency: { value: 'PT1S' },
  aggregationEnabledProcessCreate: { value: false },
  aggregationEnabledProcessTerminate: { value: false },
  aggregationEnabledConnectionCreate: { value: false },
};

/** Frequent snapshots, and no events that need root or kernel audit. */
export const STEADY = {
  ...QUICK,
  snapshotFrequency: { value: 'PT2S' },
  ...Object.fromEntries(
    [
      'ProcessCreate',
      'ProcessTerminate',
      'ConnectionCreate',
      'Login',
      'FirewallConfiguration',
      'ConnectedHardware',
      'LocalUsers',
      'OSBaseline',
    ].map((name) => [`eventPriority${name}`, { value: 'Off' }]),
  ),
};

/** Allows the twin all settings of the tests: messages every second, and any event off. */
export const NO_LIMITS = {
  shortestMessageFrequency: 'PT1S',
  shortestSnapshotFrequency: 'PT1S',
  longestMessageFrequency: 'P365D',
  mayBeOff: collectors.map(({ name }) => name).join(','),
  largestCacheInBytes: Number.MAX_SAFE_INTEGER,
  messageUnitsPerDay: 0,
};

/** One line of an agent's log. */
export type LogRecord = Readonly<Record<string, unknown>> & { readonly level: string; readonly msg: string };

/** A hub, and the files that an agent needs to connect to it. Validates all messages at the hub against the contract. */
export class TestBed {
  readonly key = randomBytes(32).toString('base64');
  /** Secrets that must not occur in any output, message or state file. Tests add their own. */
  readonly secrets = new Set([this.key]);
  readonly directory = mkdtempSync(join(tmpdir(), 'vakt-test-'));
  /** Other hubs that the agent sent messages to. Tests add them. */
  readonly otherHubs: HubEmulator[] = [];
  readonly #agents: AgentProcess[] = [];
  #hub: HubEmulator | undefined;

  /** @param options.emulator further options of the hub */
  static async open(options: { desired?: object; clock?: Clock; emulator?: EmulatorOptions } = {}): Promise<TestBed> {
    const { desired = QUICK, clock, emulator } = options;
    const bed = new TestBed();
    const modules = [{ deviceId: DEVICE, moduleId: MODULE, primaryKey: bed.key }];
    bed.#hub = await HubEmulator.start({ ...emulator, modules, ...(clock === undefined ? {} : { clock }) });
    bed.write('ca.pem', bed.hub.caPem);
    bed.write('module.key', `${bed.key}\n`);
    bed.writeConfiguration();
    bed.desire(desired);
    return bed;
  }

  get hub(): HubEmulator {
    assert.ok(this.#hub);
    return this.#hub;
  }

  desire(properties: object): void {
    this.hub.patchDesired(DEVICE, MODULE, { [OBJECT]: properties });
  }

  write(name: string, contents: string, mode = 0o600): string {
    const file = join(this.directory, name);
    writeFileSync(file, contents, { mode });
    chmodSync(file, mode);
    return file;
  }

  writeConfiguration(changes: object = {}): string {
    const configuration = {
      hub: {
        hostName: this.hub.hostName,
        gatewayHostName: `localhost:${this.hub.port}`,
        trustedCaFile: 'ca.pem',
        transport: 'mqtt', // attempts at port 443 would lengthen the recovery after an outage
      },
      identity: { kind: 'moduleKey', deviceId: DEVICE, moduleId: MODULE, keyFile: 'module.key' },
      stateDirectory: 'state',
      controlSocket: 'control.sock',
      limits: NO_LIMITS,
      // Detections also evaluate events that are off: each of a dozen agents of one test would read every start of a program.
      detections: { enabled: false },
      ...changes,
    };
    return this.write('agent.json', JSON.stringify(configuration));
  }

  /** Applies a configuration before the twin has been read, so that disabled collectors are never started. */
  startWith(configuration: object): void {
    mkdirSync(join(this.directory, 'state'), { mode: 0o700 });
    this.write('state/last-good-configuration.json', JSON.stringify({ configuration }));
  }

  /** Starts the built agent. */
  /** Makes all agents look for changed files now. */
  lookNow(): void {
    for (const agent of this.#agents) agent.lookNow();
  }

  startAgent(how?: Launch): AgentProcess {
    const agent = new AgentProcess(this.directory, how);
    this.#agents.push(agent);
    return agent;
  }

  /** Events of all messages so far, each with its message. */
  events(name?: string): Envelope[] {
    const all = this.hub.messages.flatMap(({ body }) => (JSON.parse(body) as { Events: Envelope[] }).Events);
    return name === undefined ? all : all.filter((event) => event.Name === name);
  }

  /** Payload elements of all messages so far. A repeated event, with the same id, counts once. */
  elements(name: string): Payload[] {
    const byId = new Map(this.events(name).map((event) => [event.Id, event]));
    return [...byId.values()].flatMap(({ Payload }) => Payload);
  }

  /** Sum of the hit counts of these aggregated elements. */
  hits(name: string, belongs: (element: Payload) => boolean): number {
    return this.elements(name)
      .filter(belongs)
      .reduce((all, { ExtraDetails }) => all + Number((ExtraDetails as Record<string, string>).HitCount), 0);
  }

  /** Resolves once `predicate` is true. It is evaluated at every message to the hub. */
  async waitForEvents(predicate: () => boolean, limit: Duration = WAIT): Promise<void> {
    if (predicate()) return;
    const before = this.hub.messages.length;
    await this.hub.waitForMessage(({ sequence }) => sequence > before && predicate(), limit);
  }

  /**
   * Stops all parts, validates all messages at the hub against the contract, and searches for secrets.
   *
   * @param keep keeps the files for inspection
   */
  async close({ keep = false } = {}): Promise<void> {
    for (const agent of this.#agents) await agent.end();
    try {
      for (const { body, systemProperties } of this.hub.messages) {
        const isMarked = systemProperties.interfaceId !== undefined;
        assert.deepEqual(faultsIn(JSON.parse(body), { isMarked }), []);
      }
      this.#assertNoneMissing();
      this.#assertNoSecrets();
      this.#assertStatusAsDeclared();
    } finally {
      await this.hub.stop();
      if (!keep) rmSync(this.directory, { recursive: true, force: true, maxRetries: 10 });
    }
  }

  /** Whether the first messages may have been cleared. */
  #assertNoneMissing(): void {
    const received = [this.hub, ...this.otherHubs].flatMap(({ messages }) => messages);
    received.sort((a, b) => a.enqueuedAt.getTime() - b.enqueuedAt.getTime());
    const numbered = received.map((message, at) => readLine(recordOf(message), at + 1));
    for (const message of numbered) assert.ok('sequence' in message, JSON.stringify(message));
    const messages = numbered.filter((message) => 'sequence' in message);
    for (const { wrong } of verifyChains(messages, { isPartial: true })) assert.deepEqual(wrong, []);
  }

  #assertStatusAsDeclared(): void {
    if (!this.hub.hasModule(DEVICE, MODULE)) return;
    const { securityAgent } = this.hub.twin(DEVICE, MODULE).reported;
    if (securityAgent !== undefined) assert.deepEqual(validateStatus(securityAgent), []);
  }

  #assertNoSecrets(): void {
    const state = files(join(this.directory, 'state')).map((file) => readFileSync(file, 'latin1'));
    const received = this.hub.messages.map(({ body }) => body);
    const twin = JSON.stringify(this.hub.twin(DEVICE, MODULE));
    const texts = [...this.#agents.map(({ output }) => output), ...state, ...received, twin];
    for (const text of texts) {
      for (const secret of this.secrets) {
        assert.ok(!text.includes(secret), 'a secret is in an output, a message or a state file');
      }
      assert.doesNotMatch(text, /SharedAccessSignature|sig=/);
    }
  }
}

/** Options for starting the agent. */
export interface Launch {
  /** Another build of the program than PROGRAM. */
  readonly build?: string;
  /** A program with its arguments that executes the agent. */
  readonly through?: readonly string[];
  /** Options of Node. */
  readonly options?: readonly string[];
  /** Environment variables, in addition to those of this process. */
  readonly environment?: NodeJS.ProcessEnv;
  /** Called with each line that the agent writes to file descriptor 3. */
  readonly onLine?: (line: string) => void;
}

/** The agent as a process. */
export class AgentProcess {
  /** Standard output and standard error. */
  output = '';
  readonly log: LogRecord[] = [];
  readonly exited: Promise<{ status: number | null; signal: NodeJS.Signals | null }>;
  readonly #child: ChildProcess;
  readonly #lines = new EventEmitter();
  readonly #controlSocket: string;

  constructor(directory: string, how: Launch = {}) {
    const { build = PROGRAM, through = [], options = [], environment = {}, onLine } = how;
    this.#controlSocket = join(directory, 'control.sock');
    const run = [...nodeFlagsOf(build), ...options, build, 'run', '--config', join(directory, 'agent.json')];
    const [program = process.execPath, ...args] = [...through, process.execPath, ...run];
    const ears = onLine === undefined ? [] : (['pipe'] as const);
    markTestRun(); // a soak and a benchmark may be killed, too
    const env = { ...process.env, ...environment };
    // In a session of its own, as a service: with a terminal, SIGHUP would end it.
    this.#child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe', ...ears], env, detached: true });
    const ear = this.#child.stdio[3] as Readable | null | undefined;
    if (onLine !== undefined && ear != null) createInterface({ input: ear }).on('line', onLine);
    this.exited = new Promise((resolve) => {
      this.#child.on('close', (status, signal) => resolve({ status, signal }));
    });
    let rest = '';
    this.#child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      this.output += chunk;
      const lines = `${rest}${chunk}`.split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const record = JSON.parse(line) as LogRecord;
        this.log.push(record);
        this.#lines.emit('line', record);
      }
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      this.output += chunk;
    });
  }

  get pid(): number {
    assert.ok(this.#child.pid !== undefined);
    return this.#child.pid;
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Makes it look for changed files now, as `systemctl reload` does. Until its first log line, it reads them anyway. */
  lookNow(): void {
    if (this.log.length > 0) this.kill('SIGHUP');
  }

  /** Resolves with the first past or future log line that fulfils `predicate`. */
  async waitForLog(predicate: (record: LogRecord) => boolean, limit: Duration = WAIT): Promise<LogRecord> {
    const there = this.log.find(predicate);
    if (there !== undefined) return there;
    const found = new Promise<LogRecord>((resolve, reject) => {
      const look = (record: LogRecord) => {
        if (predicate(record)) resolve(record);
      };
      this.#lines.on('line', look);
      void this.exited.then(({ status }) => reject(new Error(`the agent ended with ${status}:\n${this.output}`)));
    });
    return systemClock.within(
      limit,
      `Waiting for a log line of the agent, which wrote:\n${this.output}\nand that`,
      found,
    );
  }

  /** Retries if no answer arrives in time, as on a loaded machine; a blocked agent never answers. */
  async status(): Promise<LocalStatus> {
    const deadline = systemClock.monotonic() + WAIT;
    for (;;) {
      try {
        return await this.#askStatus();
      } catch (error) {
        const isLate = error instanceof Error && error.cause instanceof TimeLimitError;
        if (!isLate || systemClock.monotonic() >= deadline) throw error;
      }
    }
  }

  async #askStatus(): Promise<LocalStatus> {
    return (await askControlSocket(this.#controlSocket, '/status')) as LocalStatus;
  }

  /** Polls the status until it fulfils `predicate`. */
  async waitForStatus(predicate: (status: LocalStatus) => boolean, limit: Duration = WAIT): Promise<LocalStatus> {
    const deadline = systemClock.monotonic() + limit;
    let last: unknown;
    while (systemClock.monotonic() < deadline) {
      try {
        const status = await this.#askStatus();
        if (predicate(status)) return status;
        last = status;
      } catch (error) {
        last = error;
      }
      await systemClock.sleep(milliseconds(50));
    }
    throw new Error(
      `the agent's status never came to be as wanted; last: ${JSON.stringify(last)}; log:\n${this.output}`,
    );
  }

  /** Kills the agent in any state. */
  async end(): Promise<void> {
    this.#child.kill('SIGTERM');
    const ended = await systemClock.within(WAIT, 'The end of the agent', this.exited).catch(() => undefined);
    if (ended === undefined) this.#child.kill('SIGKILL');
    await this.exited;
  }
}

function files(directory: string): string[] {
  try {
    return readdirSync(directory, { recursive: true, encoding: 'utf8' })
      .map((name) => join(directory, name))
      .filter((path) => statSync(path).isFile());
  } catch {
    return []; // the agent never created it
  }
}

/** Checks that the accounts balance: collected = delivered + aggregated away + queued + dropped. */
export function assertClosed({ delivery }: LocalStatus): void {
  const { collected, delivered, aggregatedAway, queued, dropped } = delivery;
  const lost = Object.values(dropped).reduce((all, count) => all + count, 0);
  assert.equal(collected, delivered + aggregatedAway + queued.highEvents + queued.lowEvents + lost);
}
