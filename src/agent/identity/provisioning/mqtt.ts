import type { TLSSocket } from 'node:tls';
import type { Clock } from '../../../core/base/clock.ts';
import { minutes, seconds } from '../../../core/base/duration.ts';
import type { Network, Target } from '../../../core/network/network.ts';
import type { ServiceAnswer } from './answer.ts';
import { ConnectionRefused, type Conversation, type Registrant } from './conversation.ts';

/** In bytes. An answer of the service has 2 KB. */
const MAX_PACKET_BYTES = 64 * 1024;

const CONNACK = 2;
const PUBLISH = 3;
const PUBACK = 4;
const SUBACK = 9;
const PINGRESP = 13;

/**
 * Cuts a stream into whole MQTT packets (MQTT 3.1.1, 2.2). A packet that is too large, or of a type that the service has no
 * reason to send, is refused by its header, before any of it is kept: the parser of mqtt-packet has no limit.
 */
export class PacketCutter {
  #kept: Buffer = Buffer.alloc(0);

  /** @returns the packets that are complete now. @throws Error for a packet that the service never sends */
  push(chunk: Buffer): Buffer[] {
    this.#kept = this.#kept.length === 0 ? chunk : Buffer.concat([this.#kept, chunk]);
    const packets: Buffer[] = [];
    for (;;) {
      const length = lengthOf(this.#kept);
      if (length === undefined || this.#kept.length < length) return packets;
      packets.push(this.#kept.subarray(0, length));
      this.#kept = this.#kept.subarray(length);
    }
  }
}

/** The length of the packet that begins a buffer, header included; `undefined` while the header is incomplete. */
function lengthOf(buffer: Buffer): number | undefined {
  const [first] = buffer;
  if (first === undefined) return undefined;
  if (!isExpected(first)) throw new Error(`a packet that begins with ${first} arrived`);
  let length = 0;
  for (let at = 1; at <= 4; at++) {
    const byte = buffer[at];
    if (byte === undefined) return undefined;
    length += (byte & 0x7f) * 0x80 ** (at - 1);
    if (length > MAX_PACKET_BYTES) throw new Error(`a packet of at least ${length} bytes arrived`);
    if ((byte & 0x80) === 0) return 1 + at + length;
  }
  throw new Error('a packet with a malformed length arrived');
}

function isExpected(first: number): boolean {
  const type = first >> 4;
  const flags = first & 0x0f;
  const isQos2 = (flags & 0b0100) !== 0;
  return type === PUBLISH ? !isQos2 : flags === 0 && [CONNACK, PUBACK, SUBACK, PINGRESP].includes(type);
}

import mqttPacket, { type IPublishPacket, type Packet } from 'mqtt-packet';

/** Source: "Communicate with DPS using the MQTT protocol", which names no newer one. */
const API_VERSION = '2019-03-31';
const RESPONSES = '$dps/registrations/res/';
const ANSWER_LIMIT = seconds(20);
/** How long a DISCONNECT may take before the socket is destroyed. */
const CLOSE_LIMIT = seconds(1);
/** Longer than a registration, so that the client need not ping. */
const KEEP_ALIVE = minutes(10);
/** MQTT 3.1.1, 3.2.2.3. */
const ACCEPTED = 0;

/** What ends a wait: `undefined` to wait on. */
type Match<T> = (packet: Packet) => T | undefined;

/**
 * Registers by MQTT 3.1.1, on one connection: a registration has four kinds of packets, so it needs no client of its own
 * with sessions, queues and reconnects.
 */
export class MqttConversation implements Conversation {
  readonly #socket: TLSSocket;
  readonly #registrant: Registrant;
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  readonly #cutter = new PacketCutter();
  readonly #parser = mqttPacket.parser({ protocolVersion: 4 });
  #look: (packet: Packet) => void = () => {};
  #reject: (error: unknown) => void = () => {};
  #ended: unknown;
  readonly #closed = new AbortController();
  #lastId = 0;
  readonly #cancel = () => this.#end(this.#signal.reason);

  private constructor(socket: TLSSocket, registrant: Registrant, clock: Clock, signal: AbortSignal) {
    this.#socket = socket;
    this.#registrant = registrant;
    this.#clock = clock;
    this.#signal = signal;
    this.#parser.on('packet', (packet) => this.#take(packet));
    this.#parser.on('error', (error) => this.#end(error));
    socket.on('error', (error) => this.#end(error));
    socket.on('close', () => {
      this.#closed.abort();
      this.#end(new Error('the service closed the connection'));
    });
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    signal.addEventListener('abort', this.#cancel, { once: true });
  }

  /**
   * Connects and subscribes to the answers.
   *
   * @throws ConnectionRefused; the network's errors; the reason of `signal`
   */
  static async open(
    { network, clock }: { network: Network; clock: Clock },
    target: Target,
    registrant: Registrant,
    signal: AbortSignal,
  ): Promise<MqttConversation> {
    const conversation = new MqttConversation(await network.connect(target, signal), registrant, clock, signal);
    try {
      await conversation.#connect();
      await conversation.#subscribe();
      return conversation;
    } catch (error) {
      conversation.close();
      throw error;
    }
  }

  register(): Promise<ServiceAnswer> {
    return this.#ask('PUT/iotdps-register/', '', { registrationId: this.#registrant.registrationId });
  }

  progressOf(operationId: string): Promise<ServiceAnswer> {
    return this.#ask('GET/iotdps-get-operationstatus/', `&operationId=${encodeURIComponent(operationId)}`, {});
  }

  close(): void {
    this.#signal.removeEventListener('abort', this.#cancel);
    if (this.#ended === undefined) {
      this.#ended = new Error('the conversation is over');
      this.#socket.end(mqttPacket.generate({ cmd: 'disconnect' }));
      void this.#clock.sleep(CLOSE_LIMIT, this.#closed.signal).then(() => this.#socket.destroy());
    }
  }

  async #connect(): Promise<void> {
    const { idScope, registrationId, token } = this.#registrant;
    const returnCode = await this.#exchange(
      {
        cmd: 'connect',
        protocolId: 'MQTT',
        protocolVersion: 4,
        clean: true,
        clientId: registrationId,
        keepalive: KEEP_ALIVE / 1_000,
        username: `${idScope}/registrations/${registrationId}/api-version=${API_VERSION}`,
        ...(token === undefined ? {} : { password: Buffer.from(token) }),
      },
      'connecting',
      (packet) => (packet.cmd === 'connack' ? (packet.returnCode ?? ACCEPTED) : undefined),
    );
    if (returnCode !== ACCEPTED) throw new ConnectionRefused(returnCode);
  }

  async #subscribe(): Promise<void> {
    const messageId = this.#nextId();
    const [granted] = await this.#exchange(
      { cmd: 'subscribe', messageId, subscriptions: [{ topic: `${RESPONSES}#`, qos: 1 }] },
      'subscribing',
      (packet) => (packet.cmd === 'suback' && packet.messageId === messageId ? packet.granted : undefined),
    );
    if (granted !== 0 && granted !== 1) throw new Error('the service refused the subscription to its answers');
  }

  #ask(operation: string, parameters: string, content: object): Promise<ServiceAnswer> {
    const requestId = this.#nextId();
    return this.#exchange(
      {
        cmd: 'publish',
        qos: 1,
        dup: false,
        retain: false,
        messageId: requestId,
        topic: `$dps/registrations/${operation}?$rid=${requestId}${parameters}`,
        payload: JSON.stringify(content),
      },
      'the answer to a registration',
      (packet) => (packet.cmd === 'publish' ? answerIn(packet, requestId) : undefined),
    );
  }

  /** Sends a packet, and waits for the one that answers it. One exchange runs at a time. */
  async #exchange<T>(packet: Packet, step: string, match: Match<T>): Promise<T> {
    const answered = new Promise<T>((resolve, reject) => {
      this.#reject = reject;
      this.#look = (received) => {
        const found = match(received);
        if (found !== undefined) resolve(found);
      };
      if (this.#ended !== undefined) reject(this.#ended);
      else this.#socket.write(mqttPacket.generate(packet, { protocolVersion: 4 }));
    });
    try {
      return await this.#clock.within(ANSWER_LIMIT, step, answered);
    } finally {
      this.#look = () => {};
      this.#reject = () => {};
    }
  }

  #read(chunk: Buffer): void {
    if (this.#ended !== undefined) return;
    try {
      for (const packet of this.#cutter.push(chunk)) this.#parser.parse(packet);
    } catch (error) {
      this.#end(error);
    }
  }

  #take(packet: Packet): void {
    if (packet.cmd === 'publish' && packet.qos === 1 && packet.messageId !== undefined) {
      this.#socket.write(mqttPacket.generate({ cmd: 'puback', messageId: packet.messageId }));
    }
    this.#look(packet);
  }

  #end(error: unknown): void {
    if (this.#ended !== undefined) return;
    this.#ended = error ?? new Error('the registration was cancelled');
    this.#signal.removeEventListener('abort', this.#cancel);
    this.#reject(this.#ended);
    this.#socket.destroy();
  }

  #nextId(): number {
    this.#lastId += 1;
    return this.#lastId;
  }
}

/** `$dps/registrations/res/202/?$rid=1&retry-after=3`. @returns `undefined` if it answers another question */
function answerIn({ topic, payload }: IPublishPacket, requestId: number): ServiceAnswer | undefined {
  if (!topic.startsWith(RESPONSES)) return undefined;
  const [, status, query] = /^(\d{3})\/\?(.*)$/s.exec(topic.slice(RESPONSES.length)) ?? [];
  const parameters = new URLSearchParams(query);
  if (parameters.get('$rid') !== String(requestId)) return undefined;
  return { status: Number(status), retryAfter: parameters.get('retry-after') ?? undefined, body: payload.toString() };
}
