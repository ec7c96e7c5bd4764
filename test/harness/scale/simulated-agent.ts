import { renewalWithin } from '../../../src/agent/hub/credential.ts';
import { Supervisor } from '../../../src/agent/hub/supervisor.ts';
import { TwinSync } from '../../../src/agent/hub/twin-sync.ts';
import { ProvisionedDevice } from '../../../src/agent/identity/provisioning/identity.ts';
import { Publisher } from '../../../src/agent/pipeline/publisher.ts';
import { randomPart } from '../../../src/core/base/backoff.ts';
import type { Clock } from '../../../src/core/base/clock.ts';
import { type Duration, milliseconds, minutes } from '../../../src/core/base/duration.ts';
import { AgentError } from '../../../src/core/base/errors.ts';
import type { Logger } from '../../../src/core/base/log.ts';
import type { Answer, HubClient, HubSignal, HubStatus } from '../../../src/core/contract/hub.ts';
import type { QueuedEvent } from '../../../src/core/contract/store.ts';
import { liveSettings } from '../../agent/pipeline/memory-queues.ts';
import type { Azure, Standing } from './azure.ts';

export interface AgentOptions {
  readonly azure: Azure;
  readonly clock: Clock;
  readonly log: Logger;
  readonly number: number;
  readonly random: () => number;
  /**
   * If set, the provisioning service assigns the device, which has a file with its own key; otherwise it has a module's
   * key.
   */
  readonly keyFile?: string | undefined;
  /** State that the device keeps across restarts. */
  readonly state: Map<string, unknown>;
}

const EVENT_BYTES = 2_000;
const REPORTS_EVERY = minutes(7);
/** Tokens are valid for one hour, and a connection is replaced at least 15 minutes before its token expires. */
const RENEW_AFTER = minutes(45);

/**
 * The agent's real code that decides when to send which request to the hub, without its other parts. It always has an
 * event to send, and its status changes with each event.
 */
export class SimulatedAgent {
  readonly #options: AgentOptions;
  readonly #supervisor: Supervisor<string, Standing>;
  readonly #twin: TwinSync;
  readonly #publisher: Publisher;
  readonly #stop = new AbortController();
  readonly #listeners: Record<HubSignal, (() => void)[]> = {
    connected: [],
    desired: [],
    status: [],
    quotaRenewed: [],
  };
  #figures = 0;
  /** Time of the last reconnect and of the last accepted report; monotonic clock. */
  connectedAt: Duration | undefined;
  reportedAt: Duration | undefined;

  constructor(options: AgentOptions) {
    this.#options = options;
    const { azure, clock, log, random } = options;
    const identity = this.#identity();
    this.#supervisor = new Supervisor({
      prepare: async (signal) => (await identity?.present({ signal }))?.module.hostName ?? azure.hub,
      open: (hub) => azure.connect(hub),
      nextHasOther: (_hub, failure) => (identity?.failed(failure) === true ? 'credential' : undefined),
      renewAfter: () => renewalWithin(RENEW_AFTER, random),
      clock,
      random,
      onChange: () => this.#emit('status'),
      onFailure: () => {},
      onConnected: () => {
        identity?.accepted();
        this.connectedAt = clock.monotonic();
        this.#emit('connected');
      },
      onStable: () => {},
    });
    const hub = this.#hub();
    this.#twin = new TwinSync({
      hub,
      apply: () => {},
      reported: () => ({ securityAgent: { figures: this.#figures } }),
      clock,
      log,
      random,
    });
    this.#publisher = new Publisher({
      queues: oneEvent,
      hub,
      settings: SETTINGS,
      sender: { version: '1', id: '00000000-0000-4000-8000-000000000000' },
      routing: 'telemetry',
      chains: { telemetry: chain, security: chain },
      clock,
      log,
      random,
      firstPeriod: randomPart(random),
    });
  }

  async start(): Promise<void> {
    const { signal } = this.#stop;
    this.#figures = this.#options.random(); // when it was started is part of the status
    void this.#supervisor.run(signal);
    await this.#twin.start();
    await this.#publisher.start();
    void this.#report(signal);
  }

  /** The device loses its power. */
  vanish(): void {
    this.#stop.abort();
    void this.#twin.stop();
    void this.#publisher.stop();
  }

  get isConnected(): boolean {
    return this.#supervisor.state === 'connected';
  }

  /** Reports counts of events at intervals from the start, as status/reported.ts does. */
  async #report(signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#options;
    await clock.sleep(milliseconds(REPORTS_EVERY * randomPart(random)), signal);
    while (!signal.aborted) {
      this.#figures += 1;
      this.#twin.changed();
      await clock.sleep(REPORTS_EVERY, signal);
    }
  }

  #identity(): ProvisionedDevice | undefined {
    const { azure, clock, log, number, keyFile, state } = this.#options;
    if (keyFile === undefined) return undefined;
    const folder = {
      read: (name: string) => state.get(name),
      write: (name: string, value: unknown) => void state.set(name, value),
    };
    return new ProvisionedDevice({
      idScope: '0ne00000000',
      registrationId: `device-${number}`,
      attestation: { proof: 'key', keyFile },
      endpoint: 'global.azure-devices-provisioning.net',
      moduleId: 'azureiotsecurity',
      createModule: true,
      context: {
        hub: {},
        network: azure.network,
        clock,
        log,
        environment: {},
        state: folder as never,
        mayCreate: true,
      },
    });
  }

  #hub(): HubClient {
    const { azure, clock, number } = this.#options;
    const ask = async <T>(request: () => Promise<Answer<T>>): Promise<Answer<T>> => {
      const connection = await this.#supervisor.connection();
      return connection === undefined ? NOT_CONNECTED : request();
    };
    return {
      send: () => ask(() => azure.send()),
      readTwin: () => ask(() => azure.readTwin(number)),
      report: (patch) =>
        ask(async () => {
          const answer = await azure.report(number, patch);
          if (answer.status === 'accepted') this.reportedAt = clock.monotonic();
          return answer;
        }),
      status: (): HubStatus => ({ state: this.#supervisor.state, credential: { kind: 'moduleKey' } }),
      on: (event, listener) => {
        this.#listeners[event].push(listener);
      },
    };
  }

  #emit(event: 'connected' | 'status'): void {
    for (const listener of this.#listeners[event]) listener();
  }
}

const SETTINGS = liveSettings();

const NOT_CONNECTED = {
  status: 'retry',
  retryCause: 'network',
  error: new AgentError('HUB_UNREACHABLE', 'the agent is not connected', ''),
} as const;

const chain = {
  numbered: async (message: never) => message,
  accepted: () => {},
} as never;

const EVENT: QueuedEvent = {
  name: 'Login',
  elements: 1,
  occurrences: 1,
  position: 0,
  json: JSON.stringify({ Id: '00000000-0000-4000-8000-000000000000', Text: 'x'.repeat(EVENT_BYTES) }),
  jsonBytes: EVENT_BYTES + 60,
};

/** Queues in which one event of High always waits. */
const oneEvent = {
  onPut: () => {},
  waiting: (queue: 'High' | 'Low') =>
    queue === 'High' ? { events: 1, elements: 1, bytes: EVENT.jsonBytes } : { events: 0, elements: 0, bytes: 0 },
  take: (queue: 'High' | 'Low') => (queue === 'High' ? [EVENT] : []),
  hasTaken: () => false,
  settle: () => {},
};
