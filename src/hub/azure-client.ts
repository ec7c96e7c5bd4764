import type { Clock } from '../base/clock.ts';
import { seconds } from '../base/duration.ts';
import { AgentError, toAgentError } from '../base/errors.ts';
import { type Logger, logError } from '../base/log.ts';
import type { Service } from '../base/service.ts';
import type { Answer, HubClient, HubStatus, TwinDocument } from '../contract/hub.ts';
import { type Message, sizeOf } from '../contract/message.ts';
import type { MethodCalls } from '../contract/method.ts';
import { HubFailure } from './classify-error.ts';
import { RepeatedErrorLog } from './repeated-error-log.ts';
import { type Credential, endOf } from './credential.ts';
import type { ModuleIdentity } from './identity/module-identity.ts';
import { RENEW_AFTER, Session } from './session.ts';
import { Supervisor } from './supervisor.ts';
import { readTrustedCa } from './trusted-ca.ts';

export interface AzureHubClientOptions {
  readonly identity: ModuleIdentity;
  /** PEM file; absent: the authorities that Node trusts. */
  readonly trustedCaFile?: string | undefined;
  /** Where to connect to instead of the hub itself, `host` or `host:port`. Goes before the identity's own. */
  readonly gatewayHostName?: string | undefined;
  /** What the hub's owner sees of this client, `vakt/0.1.0`. */
  readonly productInfo: string;
  /** Answers direct methods. Absent: there are none. */
  readonly methods?: MethodCalls;
  readonly clock: Clock;
  readonly log: Logger;
  readonly random?: () => number;
}

type Signal = 'connected' | 'desired' | 'status';

/** Of a message, as contract/message.ts counts. */
const LARGEST_MESSAGE = 256 * 1024;
const STOP_LIMIT = seconds(3);

/** The module's connection to Azure IoT Hub by the official device SDK, with what the SDK leaves to others to do. */
export class AzureHubClient implements HubClient, Service {
  readonly name = 'hub';
  readonly #identity: ModuleIdentity;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #listeners = { connected: [], desired: [], status: [] } as Record<Signal, (() => void)[]>;
  readonly #supervisor: Supervisor<Session>;
  readonly #stop = new AbortController();
  readonly #errors: RepeatedErrorLog;
  /** Whether the log's last word on the connection is that there is one. */
  #loggedConnected = false;
  /** Of the last connection. */
  #credential: Credential | undefined;
  /** What said that the quota is used up, and when; until a message is accepted again. */
  #quota: { readonly failure: HubFailure; readonly at: Date } | undefined;
  #running: Promise<void> | undefined;

  /** @throws AgentError CA_FILE_UNUSABLE */
  constructor(options: AzureHubClientOptions) {
    const { identity, trustedCaFile, gatewayHostName, productInfo, methods, clock, log, random } = options;
    this.#identity = { ...identity, ...(gatewayHostName === undefined ? {} : { gatewayHostName }) };
    this.#clock = clock;
    this.#log = log;
    this.#errors = new RepeatedErrorLog(clock, log);
    const trustedCa = trustedCaFile === undefined ? undefined : readTrustedCa(trustedCaFile);
    const session = {
      identity: this.#identity,
      ...(trustedCa === undefined ? {} : { trustedCa }),
      productInfo,
      ...(methods === undefined ? {} : { methods }),
      clock,
      onDesired: () => this.#emit('desired'),
    };
    this.#supervisor = new Supervisor({
      connect: (signal) => Session.open(session, signal),
      renewAfter: RENEW_AFTER,
      clock,
      random: random ?? Math.random,
      onChange: () => this.#emit('status'),
      onFailure: (error) => this.#failed(error),
      onConnected: (session) => this.#connected(session),
      onStable: () => this.#errors.reset(),
    });
  }

  /** Connects in the background. */
  async start(): Promise<void> {
    this.#running ??= this.#supervisor
      .run(this.#stop.signal)
      .catch((error) => logError(this.#log, toAgentError(error)));
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    if (this.#running === undefined) return;
    await this.#clock.within(STOP_LIMIT, 'leaving the hub', this.#running).catch(() => {});
  }

  async send(message: Message): Promise<Answer<void>> {
    const size = sizeOf(message);
    if (size > LARGEST_MESSAGE) {
      const remedy = 'Report this as a defect: messages are packed to fit.';
      const error = new AgentError('INTERNAL', `a message of ${size} bytes can't be sent to a hub`, remedy);
      return { status: 'refused', error };
    }
    const answer = await this.#ask((session) => session.send(message));
    if (answer.status === 'accepted') this.#quota = undefined;
    if (answer.status !== 'retry' || answer.unanswered === undefined) return answer;
    return this.#quotaInForce?.answer ?? answer;
  }

  readTwin(): Promise<Answer<TwinDocument>> {
    return this.#ask((session) => session.readTwin());
  }

  report(patch: Readonly<Record<string, unknown>>): Promise<Answer<number | undefined>> {
    return this.#ask((session) => session.report(patch));
  }

  status(): HubStatus {
    const { state, error } = this.#supervisor;
    const isUsed = state === 'connected';
    const end = this.#credential === undefined ? {} : endOf(this.#credential, { isUsed, now: this.#clock.now() });
    return {
      state: this.#stop.signal.aborted ? 'stopped' : state,
      ...(error === undefined ? {} : { error }),
      credential: { kind: this.#identity.kind, ...end },
    };
  }

  on(event: Signal, listener: () => void): void {
    this.#listeners[event].push(listener);
  }

  async #ask<T>(request: (session: Session) => Promise<T>): Promise<Answer<T>> {
    const session = this.#stop.signal.aborted ? undefined : await this.#supervisor.connection();
    if (session === undefined) return this.#notConnected();
    try {
      return { status: 'accepted', value: await request(session) };
    } catch (thrown) {
      const failure = thrown instanceof HubFailure ? thrown : new HubFailure(toAgentError(thrown), 'network');
      if (failure.because === 'quota') this.#quota = { failure, at: this.#clock.now() };
      const { answer } = failure;
      return answer.status === 'retry' && answer.because === 'network' ? { ...answer, unanswered: true } : answer;
    }
  }

  /**
   * Over MQTT a hub cannot say why it does not take a message: it cuts the connection, or says nothing. But it says so
   * where it answers about the twin. That holds for the rest of the UTC day.
   */
  get #quotaInForce(): HubFailure | undefined {
    const day = (time: Date) => time.toISOString().slice(0, 10);
    return this.#quota !== undefined && day(this.#quota.at) === day(this.#clock.now())
      ? this.#quota.failure
      : undefined;
  }

  #notConnected(): Answer<never> {
    const { state, error } = this.#supervisor;
    return {
      status: 'retry',
      because: state === 'refused' ? 'credentials' : 'network',
      error:
        error ??
        new AgentError('HUB_UNREACHABLE', 'there is no connection to the hub yet', 'Wait; the agent connects.'),
    };
  }

  #connected({ expiresAt }: Session): void {
    this.#credential = { proof: 'token', expiresAt };
    if (!this.#loggedConnected) {
      const { hostName, deviceId, moduleId, gatewayHostName } = this.#identity;
      this.#loggedConnected = true;
      this.#log.info({ hostName, gatewayHostName, deviceId, moduleId }, 'Connected to the hub.');
    }
    this.#emit('connected');
  }

  #failed(error: AgentError): void {
    if (this.#errors.log(error)) this.#loggedConnected = false;
  }

  /** A listener's mistake is its own: the connection lives on. */
  #emit(event: Signal): void {
    for (const listener of this.#listeners[event]) {
      try {
        listener();
      } catch (error) {
        logError(this.#log, toAgentError(error));
      }
    }
  }
}
