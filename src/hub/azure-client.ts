import type { Clock } from '../base/clock.ts';
import { seconds } from '../base/duration.ts';
import { AgentError, toAgentError } from '../base/errors.ts';
import { type Logger, logError } from '../base/log.ts';
import type { Service } from '../base/service.ts';
import type { Answer, HubClient, HubStatus, TwinDocument } from '../contract/hub.ts';
import { type Message, sizeOf } from '../contract/message.ts';
import type { MethodCalls } from '../contract/method.ts';
import { readTrustedCa } from '../network/trusted-ca.ts';
import { HubFailure } from './classify-error.ts';
import { type Credential, endOf } from './credential.ts';
import type { ModuleIdentity } from './identity/module-identity.ts';
import { RepeatedErrorLog } from './repeated-error-log.ts';
import { RENEW_AFTER, Session } from './session.ts';
import { Supervisor } from './supervisor.ts';

export interface AzureHubClientOptions {
  readonly identity: ModuleIdentity;
  /** PEM file of trusted certificate authorities. Absent: those that Node trusts. */
  readonly trustedCaFile?: string | undefined;
  /** Gateway to connect to instead of the hub, `host` or `host:port`. Overrides the identity's own. */
  readonly gatewayHostName?: string | undefined;
  /** Client name shown to the hub's owner, for example `vakt/0.1.0`. */
  readonly productInfo: string;
  /** Answers direct methods. Absent: they are not subscribed to. */
  readonly methods?: MethodCalls;
  readonly clock: Clock;
  readonly log: Logger;
  readonly random?: () => number;
}

type Signal = 'connected' | 'desired' | 'status';

/** The hub's limit for a message, in bytes as `sizeOf` of contract/message.ts counts. */
const LARGEST_MESSAGE = 256 * 1024;
const STOP_LIMIT = seconds(3);

/** The module's connection to Azure IoT Hub, by the official device SDK, with reconnects, back-off and quota handling. */
export class AzureHubClient implements HubClient, Service {
  readonly name = 'hub';
  readonly #identity: ModuleIdentity;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #listeners = { connected: [], desired: [], status: [] } as Record<Signal, (() => void)[]>;
  readonly #supervisor: Supervisor<Session>;
  readonly #stop = new AbortController();
  readonly #errors: RepeatedErrorLog;
  /** Whether "Connected" was the last connection state logged. */
  #loggedConnected = false;
  /** The credential of the latest connection. */
  #credential: Credential | undefined;
  /** The failure that reported the used-up quota, and its time; cleared when a message is accepted. */
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
   * Over MQTT a hub gives no reason when it refuses a message: it closes the connection or doesn't answer. Only answers to
   * twin requests report a used-up quota, so that report is applied to messages for the rest of the UTC day.
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
        new AgentError(
          'HUB_UNREACHABLE',
          'the agent is not connected to the hub yet',
          'Wait; the agent is connecting.',
        ),
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

  /** An exception in a listener must not end the connection. */
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
