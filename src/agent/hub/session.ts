import { EventEmitter } from 'node:events';
import type { Duplex } from 'node:stream';
import device from 'azure-iot-device'; // CommonJS: Node can't detect its named exports
import { Mqtt } from 'azure-iot-device-mqtt';
import { MqttBase } from 'azure-iot-mqtt-base';
import mqtt from 'mqtt';
import { type Clock, TimeLimitError } from '../../core/base/clock.ts';
import { type Duration, milliseconds, minutes, seconds } from '../../core/base/duration.ts';
import { Lane } from '../../core/base/lane.ts';
import { TokenBucket } from '../../core/base/token-bucket.ts';
import { isPlainObject } from '../../core/base/values.ts';
import { HubFailure, type Transport, type TwinDocument } from '../../core/contract/hub.ts';
import { type Message, propertiesOf } from '../../core/contract/message.ts';
import type { MethodCalls } from '../../core/contract/method.ts';
import { limited } from '../../core/network/limited.ts';
import type { Presentation } from '../identity/identity.ts';
import {
  afterStall,
  classifyError,
  connectionLost,
  misbehaved,
  type Peer,
  silence,
  TwinStatusError,
} from './classify-error.ts';
import { type Incoming, MALFORMED, readIncoming, TWIN_RESPONSE } from './incoming.ts';
import { guardParsers, ProtocolViolation } from './packet-guard.ts';

guardParsers();

/** MQTT.js detects a dead network after one to two of these; hub and gateways close the connection after one and a half. */
export const KEEP_ALIVE = seconds(45);
/** Limit for DNS, proxy, TCP and TLS together; each subscription has the same limit again. */
const OPEN_LIMIT = seconds(30);
/** For the answer to CONNECT: `auto` must leave a port that is silent after TLS within 95 s, after three attempts. */
const CONNACK_LIMIT = seconds(20);
const SEND_LIMIT = seconds(30);
/** Extends SEND_LIMIT by the size of the message, for links of 32 kbit/s. */
const SLOWEST_BYTES_PER_SECOND = 4096;
const TWIN_LIMIT = seconds(20);
/** How long a DISCONNECT may take before the socket is destroyed. */
const CLOSE_LIMIT = seconds(1);
/** A session is replaced this long before its token expires. The SDK has the same margin. */
const RENEW_BEFORE = minutes(15);
/** An identity may have got a token that lives shorter. */
const SHORTEST_LIFE = minutes(1);

/**
 * Rate limit for messages from the hub. Each costs one token, and one more per KiB. Above the limit the agent reads more
 * slowly and TCP flow control slows the hub down, so that a flood costs neither memory nor CPU time.
 */
const MESSAGES = { max: 4_000, perSecond: 2_000 };
/** Rate limit for all other packets. They only answer what the agent sent, so exceeding it ends the connection. */
const ACKNOWLEDGEMENTS = { max: 10_000, perSecond: 1_000 };
/** Direct method calls that are running or whose answers are being sent. */
const MAX_CALLS = 32;

export interface SessionOptions {
  readonly presentation: Presentation;
  readonly transport: Transport;
  /** The host, with the port unless it is 8883, for messages. */
  readonly address: string;
  /** As of Identity. */
  readonly namedBy?: string | undefined;
  /** Opens the secured connection for MQTT. Rejects when the signal aborts. */
  readonly dial: (signal: AbortSignal) => Promise<Duplex>;
  readonly productInfo: string;
  readonly clock: Clock;
  /** Called when the hub notifies of changed desired properties. */
  readonly onDesired: () => void;
  /** Answers direct methods. If absent, the session doesn't subscribe to them. */
  readonly methods?: MethodCalls;
}

/**
 * One connection, which is never reconnected. An SDK client that lost its connection can't recover: it doesn't subscribe
 * or read the twin again, and forgets pending requests. So a session has no retries and no token renewal; the supervisor
 * replaces it.
 *
 * The SDK (azure-iot-device 1.18) handles topics, requests and acknowledgements. The session creates the MQTT.js client
 * below it (MqttBase), to set the TLS version and the keep-alive, to get the original error, and to close reliably. It
 * calls the SDK's transport directly instead of the SDK's Twin object, which adds only a copy of the twin.
 */
export class Session {
  readonly #options: SessionOptions;
  readonly #transport: Mqtt;
  readonly #client: InstanceType<typeof device.ModuleClient>;
  /** Reject functions of pending requests; all are called when the connection ends. */
  readonly #waiting = new Set<(failure: HubFailure) => void>();
  readonly #openedAt: Date;
  readonly #inFlight = new Set<Promise<unknown>>();
  readonly #calls = new Set<Promise<void>>();
  readonly #messages: TokenBucket;
  readonly #acknowledgements: TokenBucket;
  /** Resolves when the connection has ended, with the reason. */
  readonly lost: Promise<HubFailure>;
  #resolveLost: (failure: HubFailure) => void = () => {};
  #stream: Duplex | undefined;
  #raw: RawClient | undefined;
  /** The first error that MQTT.js emitted. */
  #cause: unknown;
  #opened = false;
  #ended: HubFailure | undefined;
  #heardAt: Duration;
  #pulseAt: Duration;
  /** Orders operations on the twin. */
  readonly #twinLane = new Lane();
  #asksTwin = false;
  #twinResponse: (Incoming & { kind: 'response' }) | undefined;

  private constructor(options: SessionOptions) {
    const { presentation, clock, productInfo } = options;
    const { hostName, deviceId, moduleId } = presentation.module;
    this.#options = options;
    this.#openedAt = clock.now();
    this.#heardAt = clock.monotonic();
    this.#pulseAt = this.#heardAt;
    this.#messages = new TokenBucket({ ...MESSAGES, clock });
    this.#acknowledgements = new TokenBucket({ ...ACKNOWLEDGEMENTS, clock });
    this.lost = new Promise((resolve) => {
      this.#resolveLost = resolve;
    });
    const mqttBase = new MqttBase({ connect: (_uri: string, given: mqtt.IClientOptions) => this.#connect(given) });
    // The SDK's own limit for an acknowledgement, 30 s, is shorter than ours for a large message, and it uses the wall
    // clock, so a clock step would trigger it.
    mqttBase.setTimeout(Number.MAX_SAFE_INTEGER);
    const credentials = {
      host: hostName,
      deviceId,
      moduleId,
      ...proofOf(presentation),
    };
    this.#transport = new Mqtt(new OneCredential(credentials) as unknown as AuthenticationProvider, mqttBase);
    // If it isn't set, the SDK runs lsb_release in a shell to describe this system to the hub (getos 3).
    Object.assign(this.#transport, { _userAgentString: productInfo });
    this.#client = new device.ModuleClient(this.#transport, undefined as never); // no method client: the agent invokes none
    this.#client.setRetryPolicy({ shouldRetry: () => false, nextRetryTimeout: () => -1 });
    this.#client.on('error', (error: unknown) => this.#fail(error)); // without a listener it would end the process
    this.#client.on('disconnect', () => this.drop(connectionLost(this.#peer, this.#cause)));
  }

  /**
   * Connects and subscribes.
   *
   * @param signal cancels the attempt at once
   * @throws HubFailure
   */
  static async open(options: SessionOptions, signal: AbortSignal): Promise<Session> {
    const session = new Session(options);
    const giveUp = () => session.drop(session.#closed());
    signal.addEventListener('abort', giveUp, { once: true });
    try {
      if (signal.aborted) giveUp();
      await session.#dial(signal);
      await session.#ask(CONNACK_LIMIT, 'connecting', (done) => session.#client.open(done));
      if (options.methods !== undefined) {
        await session.#ask(OPEN_LIMIT, 'subscribing to methods', (done) => session.#transport.enableMethods(done));
      }
      await session.#ask(OPEN_LIMIT, 'subscribing', (done) =>
        session.#transport.enableTwinDesiredPropertiesUpdates(done),
      );
      session.#opened = true;
      return session;
    } catch (error) {
      const failure = classifyError(error, session.#peer);
      session.drop(failure);
      throw failure;
    } finally {
      signal.removeEventListener('abort', giveUp);
    }
  }

  get presentation(): Presentation {
    return this.#options.presentation;
  }

  get transport(): Transport {
    return this.#options.transport;
  }

  /** Age at which it must be replaced at the latest; `undefined` for a certificate, which holds as long as the connection. */
  get renewAfter(): Duration | undefined {
    const { kind, expiresAt } = this.presentation.proof;
    if (kind === 'certificate') return undefined;
    const life = expiresAt.getTime() - this.#openedAt.getTime();
    return milliseconds(Math.max(SHORTEST_LIFE, life - RENEW_BEFORE));
  }

  /**
   * Drops the connection if no packet, not even an answer to a ping, was received for three times the keep-alive. Call
   * this every 30 s. If a call is late, this process was suspended, and the hub is not to blame for the silence.
   */
  checkPulse(): void {
    const now = this.#options.clock.monotonic();
    const since = now - this.#pulseAt;
    if (since > 2 * KEEP_ALIVE) this.#heardAt = now;
    this.#pulseAt = now;
    const quiet = now - this.#heardAt;
    if (quiet <= 3 * KEEP_ALIVE) return;
    const peer = this.#peer;
    this.drop(silence(`no packet from ${peer.address} for ${Math.round(quiet / 1_000)} s`, peer));
  }

  /** Resolves when the hub has acknowledged the message. @throws HubFailure */
  send(message: Message): Promise<void> {
    const { system, application } = propertiesOf(message);
    // The body stays a string: the SDK stringifies it for a debug line even when debugging is off.
    const outgoing = new device.Message(message.body);
    outgoing.messageId = system.messageId ?? message.id;
    outgoing.contentType = 'application/json';
    outgoing.contentEncoding = 'utf-8';
    if (system.interfaceId !== undefined) outgoing.setAsSecurityMessage();
    for (const [name, value] of Object.entries(application)) outgoing.properties.add(name, value);
    const limit = milliseconds(SEND_LIMIT + seconds(Math.floor(message.body.length / SLOWEST_BYTES_PER_SECOND)));
    return this.#track(
      this.#ask(limit, 'sending a message', (done: Callback<unknown>) => this.#client.sendEvent(outgoing, done)),
    ).then(() => {});
  }

  /** Reads the whole twin from the hub. @throws HubFailure */
  readTwin(): Promise<TwinDocument> {
    return this.#inTurn(async () => {
      const document = await this.#askTwin('reading the module twin', (done) => this.#transport.getTwin(done));
      if (!isDocument(document)) {
        throw classifyError(new TwinStatusError(MALFORMED, "it has no sections 'desired' and 'reported'"), this.#peer);
      }
      return document;
    });
  }

  /** Merges `patch` into the reported properties; resolves with their new version. @throws HubFailure */
  report(patch: Readonly<Record<string, unknown>>): Promise<number | undefined> {
    return this.#inTurn(async () => {
      await this.#askTwin('reporting to the module twin', (done) =>
        this.#transport.updateTwinReportedProperties(patch, done),
      );
      return this.#twinResponse?.version;
    });
  }

  /** Resolves when no direct method is running. */
  async answered(): Promise<void> {
    while (this.#calls.size > 0) await Promise.allSettled(this.#calls);
  }

  /** Resolves when no request to the hub is pending; bounded by the time limits of the requests. */
  async idle(): Promise<void> {
    while (this.#inFlight.size > 0) await Promise.allSettled(this.#inFlight);
  }

  /** Sends a DISCONNECT and closes the connection. */
  async close(): Promise<void> {
    if (this.#ended !== undefined) return;
    this.#end(this.#closed());
    await this.#options.clock.within(CLOSE_LIMIT, 'closing', this.#client.close()).catch(() => {});
    this.#raw?.stream.destroy();
  }

  /** Closes the connection without a DISCONNECT; pending requests are rejected with `failure`. */
  drop(failure: HubFailure): void {
    if (this.#ended !== undefined) return;
    this.#end(failure);
    this.#stream?.destroy();
    this.#raw?.end(true);
    this.#client.close().catch(() => {}); // stops the SDK's timers; may never settle (sdk #1110)
  }

  get #peer(): Peer {
    const { address, namedBy, presentation, clock } = this.#options;
    const { deviceId, moduleId, trustedCa } = presentation.module;
    const module = `${deviceId}/${moduleId}`;
    const hasOwnCa = trustedCa !== undefined;
    return { address, namedBy, hasOwnCa, module, proof: presentation.proof.kind, now: clock.now() };
  }

  #end(cause: HubFailure): void {
    const { clock } = this.#options;
    const failure = afterStall(cause, clock.lastStall?.(), clock.monotonic(), this.#peer);
    this.#ended = failure;
    for (const reject of this.#waiting) reject(failure);
    this.#resolveLost(failure);
  }

  #closed(): HubFailure {
    return connectionLost(this.#peer, new Error('the agent closed it'));
  }

  #fail(error: unknown): void {
    if (error instanceof ProtocolViolation) this.drop(misbehaved(this.#peer, error));
    this.drop(this.#opened ? connectionLost(this.#peer, error) : classifyError(error, this.#peer));
  }

  async #dial(signal: AbortSignal): Promise<void> {
    const { clock, dial } = this.#options;
    const stream = await limited({ clock, limit: OPEN_LIMIT, label: 'connecting', signal }, async (step) => {
      const stream = await dial(step);
      if (!step.aborted && this.#ended === undefined) return stream;
      stream.destroy();
      throw this.#closed();
    });
    this.#stream = stream;
    // The socket's own error says more than MQTT.js, which only sees that it closed.
    stream.on('error', (error: unknown) => {
      this.#cause ??= error;
      this.#fail(error);
    });
  }

  /** Creates the MQTT.js client for the SDK, which calls this once. */
  #connect(given: mqtt.IClientOptions): RawClient {
    const stream = this.#stream;
    if (this.#raw !== undefined || stream === undefined) throw new Error('A session connects once.');
    const { clock } = this.#options;
    const { cert: _, key: __, ...options } = given; // used by the TLS connection below
    const raw = new mqtt.MqttClient(() => stream, {
      ...options,
      keepalive: KEEP_ALIVE / 1_000,
      connectTimeout: OPEN_LIMIT + seconds(5), // our own limit expires first, and gives a better error
    } as mqtt.IClientOptions) as unknown as RawClient;
    this.#raw = raw;

    raw.on('error', (error: unknown) => {
      this.#cause ??= error;
      this.#fail(error);
    });
    raw.on('close', () => {
      if (this.#opened) this.drop(connectionLost(this.#peer, this.#cause));
      else this.drop(classifyError(this.#cause ?? new Error('Unable to establish a connection'), this.#peer));
    });
    raw.on('packetreceive', (packet: { cmd: string; granted?: number[] }) => {
      this.#heardAt = clock.monotonic();
      if (packet.cmd !== 'publish' && !this.#acknowledgements.take()) {
        this.#fail(new ProtocolViolation(`it sent more than ${ACKNOWLEDGEMENTS.perSecond} packets a second`));
      }
      if (packet.cmd === 'suback' && packet.granted?.some((granted) => granted >= 0x80)) {
        this.#fail(new Error('the hub refused the subscription'));
      }
    });

    raw.handleMessage = (packet, done) => {
      const wait = this.#messages.borrow(1 + (packet.payload?.length ?? 0) / 1024);
      if (wait === 0) done();
      else void clock.sleep(wait).then(() => done());
    };

    const emit = raw.emit.bind(raw);
    raw.emit = (event, ...args) => (event === 'message' ? this.#receive(emit, args) : emit(event, ...args));

    // The SDK ends gracefully and waits for acknowledgements, which never arrive on a dead connection (sdk #1110).
    const end = raw.end.bind(raw);
    raw.end = (force, ...rest) => end(force === true || Object.keys(raw.outgoing).length > 0, ...rest);
    return raw;
  }

  #receive(pass: RawClient['emit'], [topic, payload, packet]: unknown[]): boolean {
    if (this.#ended !== undefined) return true;
    if (!this.#asksTwin && String(topic).startsWith(TWIN_RESPONSE)) return true; // not requested
    const incoming = readIncoming(String(topic), payload as Buffer);
    if (incoming.kind === 'desired') this.#options.onDesired();
    if (incoming.kind === 'call') this.#startCall(incoming, payload as Buffer);
    if (incoming.kind !== 'response') return true;
    this.#twinResponse = incoming;
    return pass('message', topic, Buffer.from(incoming.body), packet);
  }

  #startCall(call: Incoming & { kind: 'call' }, payload: Buffer): void {
    if (this.#calls.size >= MAX_CALLS) return; // the caller gets a timeout from the hub
    const answered = this.#answer(call, payload);
    this.#calls.add(answered);
    void answered.finally(() => this.#calls.delete(answered));
  }

  /** An answer that can't be sent is dropped: by then the hub has reported a timeout to the caller. */
  async #answer({ method, requestId }: Incoming & { kind: 'call' }, payload: Buffer): Promise<void> {
    const answer = await this.#options.methods?.call(method, payload);
    if (answer === undefined) return;
    const response = { requestId, status: answer.status, payload: answer.body } as MethodResponse;
    const send = (done: Callback<void>) => this.#transport.sendMethodResponse(response, done);
    await this.#ask(SEND_LIMIT, 'answering a direct method', send).catch(() => {});
  }

  /** Sends one request to the hub and waits for its answer. If none arrives in time, the connection is dropped. */
  async #ask<T>(limit: Duration, what: string, request: (done: Callback<T>) => void): Promise<T> {
    let waiter: (failure: HubFailure) => void = () => {};
    const work = new Promise<T>((resolve, reject) => {
      waiter = reject;
      if (this.#ended !== undefined) throw this.#ended;
      this.#waiting.add(waiter);
      request((error, value) => (error ? reject(error) : resolve(value as T)));
    });
    try {
      return await this.#options.clock.within(limit, what, work);
    } catch (error) {
      if (error instanceof HubFailure) throw error;
      if (error instanceof TimeLimitError) this.drop(classifyError(error, this.#peer));
      throw this.#ended ?? classifyError(this.#opened ? error : (this.#cause ?? error), this.#peer);
    } finally {
      this.#waiting.delete(waiter);
    }
  }

  /** Like `#ask`, but takes the status from the hub's response, since the SDK's error doesn't contain it. */
  async #askTwin<T>(what: string, request: (done: Callback<T>) => void): Promise<T> {
    this.#twinResponse = undefined;
    this.#asksTwin = true;
    try {
      return await this.#ask(TWIN_LIMIT, what, request);
    } catch (error) {
      const response = this.#twinResponse as (Incoming & { kind: 'response' }) | undefined;
      if (this.#ended !== undefined || response === undefined || response.status < 300) throw error;
      const { message } = JSON.parse(response.body) as { message: string };
      throw classifyError(new TwinStatusError(response.status, message), this.#peer);
    } finally {
      this.#asksTwin = false;
    }
  }

  /** Runs one twin operation at a time, so that a response always belongs to the latest request. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    return this.#track(this.#twinLane.run(work));
  }

  #track<T>(work: Promise<T>): Promise<T> {
    const settled = work.then(
      () => {},
      () => {},
    );
    this.#inFlight.add(settled);
    settled.finally(() => this.#inFlight.delete(settled));
    return work;
  }
}

type AuthenticationProvider = ConstructorParameters<typeof Mqtt>[0];
type MethodResponse = Parameters<Mqtt['sendMethodResponse']>[0];
type Callback<T> = (error?: Error | null, value?: T) => void;

/** MQTT.js's client, with properties that its types lack. */
type RawClient = Omit<mqtt.MqttClient, 'emit' | 'end' | 'handleMessage' | 'on'> & {
  handleMessage: (packet: { readonly payload?: Buffer }, done: () => void) => void;
  readonly outgoing: Readonly<Record<string, unknown>>;
  readonly stream: Duplex;
  on(event: string, listener: (...args: never[]) => void): void;
  emit(event: string, ...args: unknown[]): boolean;
  end(force?: unknown, ...rest: unknown[]): unknown;
};

/** Provides one credential for one connection. It is never renewed, so the SDK never reconnects by itself. */
class OneCredential extends EventEmitter {
  /** AuthenticationType.Token of azure-iot-common; with X509 the SDK would want the certificate in setOptions, too. */
  readonly type = 1;
  readonly #credentials: Credentials;

  constructor(credentials: Credentials) {
    super();
    this.#credentials = credentials;
  }

  getDeviceCredentials(done: (error: Error | null, credentials?: Credentials) => void): void {
    done(null, this.#credentials);
  }

  stop(): void {}
}

interface Credentials {
  readonly host: string;
  readonly deviceId: string;
  readonly moduleId: string;
  readonly sharedAccessSignature?: string;
  readonly x509?: { readonly cert: string; readonly key: string };
}

const proofOf = ({ proof }: Presentation): Pick<Credentials, 'sharedAccessSignature' | 'x509'> =>
  proof.kind === 'token'
    ? { sharedAccessSignature: proof.token }
    : { x509: { cert: proof.certificate, key: proof.key } };

const isDocument = (value: unknown): value is TwinDocument =>
  isPlainObject(value) && isPlainObject(value.desired) && isPlainObject(value.reported);
