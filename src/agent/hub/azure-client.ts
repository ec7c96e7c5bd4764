import type { Clock } from '../../core/base/clock.ts';
import { type Duration, milliseconds, seconds } from '../../core/base/duration.ts';
import { AgentError, messageOf, toAgentError } from '../../core/base/errors.ts';
import { type Logger, logError } from '../../core/base/log.ts';
import type { Service } from '../../core/base/service.ts';
import type { LookNow } from '../../core/base/waiting.ts';
import {
  type Answer,
  type HubClient,
  HubFailure,
  type HubSignal,
  type HubStatus,
  type Transport,
  type TwinDocument,
} from '../../core/contract/hub.ts';
import { HUB_MESSAGE_BYTES, type Message, sizeOf } from '../../core/contract/message.ts';
import type { MethodCalls } from '../../core/contract/method.ts';
import type { Address } from '../../core/network/address.ts';
import type { Network } from '../../core/network/network.ts';
import type { Identity, Presentation } from '../identity/identity.ts';
import type { StateFolder } from '../state/state-folder.ts';
import { HOST_SETTINGS } from './classify-error.ts';
import { type Credential, credentialOf, endOf, renewalWithin } from './credential.ts';
import { FileWatch } from './file-watch.ts';
import { RepeatedErrorLog } from './repeated-error-log.ts';
import type { Session } from './session.ts';
import { Supervisor } from './supervisor.ts';
import { hostOf, nameOf, TransportChoice, type TransportSetting, targetOf } from './transport.ts';

export interface AzureHubClientOptions {
  readonly identity: Identity;
  readonly network: Network;
  /** Default: `mqtt`. */
  readonly transport?: TransportSetting;
  /** With `auto`: what it begins with, when nothing is remembered. Default: `mqtt`. */
  readonly firstTransport?: Transport;
  /** Stores the transport that worked. If absent, it is not stored. */
  readonly state?: StateFolder | undefined;
  /** Client name shown to the hub's owner, for example `vakt/0.1.0`. */
  readonly productInfo: string;
  /** Answers direct methods. If absent, the client does not subscribe to them. */
  readonly methods?: MethodCalls;
  /** Makes it look at the files of its credential at once. */
  readonly lookNow?: Pick<LookNow, 'on'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly random?: () => number;
}

/** What the next connection is made with. */
interface Attempt {
  readonly presentation: Presentation;
  readonly transport: Transport;
  /** Where `presentation` and `transport` lead. */
  readonly address: Address;
}

const STOP_LIMIT = seconds(3);

/** The module's connection to Azure IoT Hub, by the official device SDK, with reconnects, back-off and quota handling. */
export class AzureHubClient implements HubClient, Service {
  readonly name = 'hub';
  readonly #identity: Identity;
  readonly #network: Network;
  readonly #transport: TransportChoice;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #listeners: Readonly<Record<HubSignal, (() => void)[]>> = {
    connected: [],
    desired: [],
    status: [],
    quotaRenewed: [],
  };
  readonly #supervisor: Supervisor<Attempt, Session>;
  readonly #files: FileWatch;
  readonly #stop = new AbortController();
  readonly #errors: RepeatedErrorLog;
  /** Whether "Connected" was the last connection state logged. */
  #loggedConnected = false;
  /** The credential of the latest connection. */
  #credential: Credential | undefined;
  /** What the latest connection, or attempt, was made with. */
  #attempt: Attempt | undefined;
  /** Why nothing could be presented to the hub, the last time. */
  #unpresentable: AgentError | undefined;
  /** Why the hub refused the credential, the last time. */
  #refusal: AgentError | undefined;
  /** Why the last attempt on port 8883, while 443 was in use, failed. That is not an error. */
  #trial: HubFailure | undefined;
  /** The failure that reported the used-up quota, its time and the hub; cleared when a request is accepted. */
  #quota: { readonly failure: HubFailure; readonly at: Date; readonly hub: string } | undefined;
  #running: Promise<void> | undefined;

  constructor(options: AzureHubClientOptions) {
    const { identity, network, transport = 'mqtt', state, productInfo, methods, clock, log } = options;
    const { random = Math.random } = options;
    this.#identity = identity;
    this.#network = network;
    this.#clock = clock;
    this.#log = log;
    this.#errors = new RepeatedErrorLog(clock, log);
    this.#transport = new TransportChoice({ setting: transport, state, first: options.firstTransport, clock });
    const session = {
      productInfo,
      ...(methods === undefined ? {} : { methods }),
      namedBy: identity.namedBy,
      clock,
      onDesired: () => this.#emit('desired'),
    };
    this.#supervisor = new Supervisor({
      prepare: (signal) => this.#prepare(signal),
      open: async (attempt, signal) => {
        const { address, dial } = this.#routeTo(attempt);
        const { Session } = await import('./session.ts'); // the SDK is two fifths of all code, and not needed to collect
        return Session.open({ ...session, ...attempt, address, dial }, signal).catch((thrown) => {
          throw thrown instanceof HubFailure ? this.#transport.classify(attempt.transport, thrown) : thrown;
        });
      },
      nextHasOther: (attempt, failure) => this.#nextHasOther(attempt, failure),
      renewAfter: ({ renewAfter, transport }) =>
        earlierOf(
          renewAfter === undefined ? undefined : renewalWithin(renewAfter, random),
          this.#transport.renewAfter(transport),
        ),
      clock,
      random,
      onChange: () => this.#emit('status'),
      onFailure: (failure) => this.#failed(failure),
      onConnected: (session) => this.#connected(session),
      onStable: () => this.#errors.reset(),
    });
    this.#files = new FileWatch({
      files: () => [...identity.files, ...network.files],
      changed: () => this.#supervisor.credentialChanged(),
      clock,
      log,
    });
    options.lookNow?.on(() => this.#files.lookNow());
  }

  /** Connects in the background. */
  async start(): Promise<void> {
    const { signal } = this.#stop;
    this.#running ??= Promise.all([this.#supervisor.run(signal), this.#files.run(signal)]).then(
      () => {},
      (error) => logError(this.#log, toAgentError(error)),
    );
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    if (this.#running === undefined) return;
    await this.#clock.within(STOP_LIMIT, 'leaving the hub', this.#running).catch(() => {});
  }

  async send(message: Message): Promise<Answer<void>> {
    const size = sizeOf(message);
    if (size > HUB_MESSAGE_BYTES) {
      const remedy = 'Report this as a defect: messages are packed to fit.';
      const error = new AgentError('INTERNAL', `a message of ${size} bytes can't be sent to a hub`, remedy);
      return { status: 'refused', error };
    }
    const answer = await this.#ask((session) => session.send(message));
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
    const credentialError = this.#unpresentable ?? this.#refusal;
    const end = this.#credential === undefined ? {} : endOf(this.#credential, { isUsed, now: this.#clock.now() });
    return {
      state: this.#stop.signal.aborted ? 'stopped' : state,
      ...(error === undefined ? {} : { error }),
      credential: {
        kind: this.#identity.kind,
        ...end,
        ...(this.#attempt === undefined ? {} : this.#describe(this.#attempt)),
        ...(credentialError === undefined ? {} : { error: credentialError }),
      },
    };
  }

  on(event: HubSignal, listener: () => void): void {
    this.#listeners[event].push(listener);
  }

  async #ask<T>(request: (session: Session) => Promise<T>): Promise<Answer<T>> {
    const session = this.#stop.signal.aborted ? undefined : await this.#supervisor.connection();
    if (session === undefined) return this.#notConnected();
    try {
      const value = await request(session);
      if (this.#quota !== undefined) {
        this.#quota = undefined;
        this.#emit('quotaRenewed');
      }
      return { status: 'accepted', value };
    } catch (thrown) {
      const failure = thrown instanceof HubFailure ? thrown : new HubFailure(toAgentError(thrown), 'network');
      const hub = session.presentation.module.hostName;
      if (failure.retryCause === 'quota') this.#quota = { failure, at: this.#clock.now(), hub };
      const { answer } = failure;
      return answer.status === 'retry' && answer.retryCause === 'network' ? { ...answer, unanswered: true } : answer;
    }
  }

  /**
   * Over MQTT a hub gives no reason when it refuses a message: it closes the connection or doesn't answer. Only answers to
   * twin requests report a used-up quota, so that report is applied to messages for the rest of the UTC day, unless the
   * hub accepts another twin request, which its quota limits as well.
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
      retryCause: state === 'refused' ? 'credentials' : 'network',
      error:
        error ??
        new AgentError(
          'HUB_UNREACHABLE',
          'the agent is not connected to the hub yet',
          'Wait; the agent is connecting.',
        ),
    };
  }

  async #prepare(signal: AbortSignal): Promise<Attempt> {
    try {
      const attempt = this.#attemptWith(await this.#identity.present({ signal }), this.#transport.next());
      this.#changeStatus(this.#unpresentable !== undefined, () => {
        this.#unpresentable = undefined;
        if (this.#supervisor.state !== 'connected') this.#attempt = attempt;
      });
      return attempt;
    } catch (thrown) {
      const error = thrown instanceof HubFailure ? thrown.error : toAgentError(thrown);
      if (!signal.aborted) {
        this.#changeStatus(this.#unpresentable?.message !== error.message, () => {
          this.#unpresentable = error;
        });
      }
      throw thrown;
    }
  }

  #changeStatus(isNews: boolean, change: () => void): void {
    change();
    if (isNews) this.#emit('status');
  }

  /** @throws HubFailure if the presentation names no host: then there is no attempt, and nothing else has to expect that */
  #attemptWith(presentation: Presentation, transport: Transport): Attempt {
    const host = hostOf(presentation.module);
    try {
      return { presentation, transport, address: this.#transport.addressOf(host, transport) };
    } catch (cause) {
      const remedy = `Correct ${this.#identity.namedBy ?? HOST_SETTINGS}.`;
      throw new HubFailure(new AgentError('CONFIG_INVALID', messageOf(cause), remedy, { cause }), 'credentials');
    }
  }

  #routeTo({ presentation, transport, address }: Attempt) {
    const target = targetOf(presentation, address);
    const dial = (signal: AbortSignal) =>
      transport === 'mqtt' ? this.#network.connect(target, signal) : this.#network.webSocket(target, signal);
    return { address: nameOf(address), dial };
  }

  #describe({
    presentation: { module, source },
    transport,
    address: { host, port },
  }: Attempt): Partial<HubStatus['credential']> {
    const proxy = this.#network.proxyOf(host, port);
    return { hub: module.hostName, transport, ...(proxy === undefined ? {} : { proxy }), source };
  }

  #nextHasOther({ presentation, transport }: Attempt, failure: HubFailure): 'credential' | 'transport' | undefined {
    const why = this.#transport.failed(transport, failure);
    if (why === 'trial') this.#trial = failure;
    if (why !== undefined) return 'transport'; // the same presentation is tried by the other port at once
    return this.#identity.failed?.(presentation, failure) === true ? 'credential' : undefined;
  }

  #connected({ presentation, transport }: Session): void {
    const { proof, module, deviceCertificate } = presentation;
    this.#attempt = this.#attemptWith(presentation, transport);
    this.#credential = credentialOf(proof, deviceCertificate);
    this.#refusal = undefined;
    if (this.#quota?.hub !== module.hostName) this.#quota = undefined;
    this.#identity.accepted?.(presentation);
    this.#transport.connected(transport);
    if (!this.#loggedConnected) {
      const { hostName, deviceId, moduleId, connectTo } = module;
      this.#loggedConnected = true;
      const gatewayHostName = connectTo === hostName ? undefined : connectTo;
      const { proxy } = this.#describe(this.#attempt);
      const route = { gatewayHostName, transport, proxy, source: presentation.source };
      this.#log.info({ hostName, ...route, deviceId, moduleId }, 'Connected to the hub.');
    }
    this.#emit('connected');
  }

  #failed(failure: HubFailure): void {
    const { error, retryCause } = failure;
    if (failure === this.#trial) {
      this.#log.debug({ err: error.message }, "Port 8883 still can't be reached; staying with port 443.");
      return;
    }
    if (retryCause === 'credentials' || retryCause === 'absent' || error.code === 'Authentication') {
      this.#changeStatus(this.#refusal?.message !== error.message, () => {
        this.#refusal = error;
      });
    }
    if (this.#errors.log(error)) this.#loggedConnected = false;
  }

  /** An exception in a listener must not close the connection. */
  #emit(event: HubSignal): void {
    for (const listener of this.#listeners[event]) {
      try {
        listener();
      } catch (error) {
        logError(this.#log, toAgentError(error));
      }
    }
  }
}

const earlierOf = (one: Duration | undefined, other: Duration | undefined): Duration | undefined =>
  one === undefined || other === undefined ? (one ?? other) : milliseconds(Math.min(one, other));
