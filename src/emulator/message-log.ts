import { HUB_MESSAGE_BYTES, type MessageProperties } from '../core/contract/message.ts';
import { type ModuleId, nameOf } from './identity.ts';

/**
 * System properties: their names in MQTT topics, and in the hub's routing queries.
 * Sources: "Communicate with an IoT hub using the MQTT protocol"; "Create and read IoT Hub messages".
 */
const SYSTEM: Readonly<Record<string, string>> = {
  '$.mid': 'messageId',
  '$.cid': 'correlationId',
  '$.uid': 'userId',
  '$.to': 'to',
  '$.ct': 'contentType',
  '$.ce': 'contentEncoding',
  '$.on': 'outputName',
  '$.exp': 'expiryTimeUtc',
  '$.ifid': 'interfaceId',
  '$.sub': 'subject',
  'iothub-creation-time-utc': 'creationTimeUtc',
};

/**
 * Reads the last level of a telemetry topic, `name=value&…`, both percent-encoded. A name without `=` has an empty value.
 *
 * @throws URIError if the encoding is invalid
 */
export function parsePropertyBag(bag: string): MessageProperties {
  const system: [string, string][] = [];
  const application: [string, string][] = [];
  for (const pair of bag.split('&')) {
    if (pair === '') continue;
    const [name = '', ...value] = pair.split('=').map(decodeURIComponent);
    const known = Object.hasOwn(SYSTEM, name) ? SYSTEM[name] : undefined;
    if (known !== undefined || name.startsWith('$.')) system.push([known ?? name, value.join('=')]);
    else application.push([name, value.join('=')]);
  }
  return { system: Object.fromEntries(system), application: Object.fromEntries(application) };
}

/**
 * The size of a message as the hub counts it: body, values of system properties, names and values of application
 * properties. Source: "Create and read IoT Hub messages".
 */
export function sizeInBytes(body: Buffer, { system, application }: MessageProperties): number {
  const texts = [...Object.values(system), ...Object.entries(application).flat()];
  return texts.reduce((size, text) => size + Buffer.byteLength(text), body.length);
}

/** A device-to-cloud message as stored by the hub. */
export interface ReceivedMessage extends ModuleId {
  /** Numbers the messages of all modules, from 1. */
  readonly sequence: number;
  readonly enqueuedAt: Date;
  readonly body: string;
  /** Named as in routing queries: `messageId`, `contentType`, `contentEncoding`, `interfaceId`, … */
  readonly systemProperties: Readonly<Record<string, string>>;
  readonly applicationProperties: Readonly<Record<string, string>>;
  /** Size of body and properties, as a hub counts it against its limits. */
  readonly sizeBytes: number;
  /** The module sent a message with this id before. Like a hub, the emulator keeps both. */
  readonly duplicate: boolean;
}

/** A message as one line of JSON, for `vakt emulator --record` and `vakt verify-chain`. */
export function recordOf(message: ReceivedMessage): string {
  const { enqueuedAt, deviceId, moduleId, systemProperties, applicationProperties, body } = message;
  return JSON.stringify({ enqueuedAt, deviceId, moduleId, systemProperties, applicationProperties, body });
}

/** Number of messages kept; the oldest are removed first. */
const MAX_MESSAGES = 100_000;

/** The messages received, oldest first. */
export class MessageLog {
  readonly all: ReceivedMessage[] = [];
  readonly #ids = new Set<string>();
  #sequence = 0;

  /** @throws URIError if the properties' encoding is invalid; RangeError if the message is too large */
  add(module: ModuleId, body: Buffer, propertyBag: string, enqueuedAt: Date): ReceivedMessage {
    const properties = parsePropertyBag(propertyBag);
    const sizeBytes = sizeInBytes(body, properties);
    if (sizeBytes > HUB_MESSAGE_BYTES)
      throw new RangeError(`a message of ${sizeBytes} bytes; the limit is ${HUB_MESSAGE_BYTES}`);
    const { messageId } = properties.system;
    const id = messageId === undefined ? undefined : `${nameOf(module)}/${messageId}`;
    const message: ReceivedMessage = {
      sequence: ++this.#sequence,
      enqueuedAt,
      deviceId: module.deviceId,
      moduleId: module.moduleId,
      body: body.toString(),
      systemProperties: properties.system,
      applicationProperties: properties.application,
      sizeBytes,
      duplicate: id !== undefined && this.#ids.has(id),
    };
    if (id !== undefined) this.#remember(id);
    this.all.push(message);
    if (this.all.length > MAX_MESSAGES) this.all.shift();
    return message;
  }

  #remember(id: string): void {
    this.#ids.add(id);
    for (const oldest of this.#ids) {
      if (this.#ids.size <= MAX_MESSAGES) return;
      this.#ids.delete(oldest);
    }
  }

  /** Deletes the messages. Sequence numbers continue, and message ids are kept to recognize duplicates. */
  clear(): void {
    this.all.length = 0;
  }
}

/** The events in messages of the security agent's format, each with its message's sequence number and module. */
export function eventsIn(messages: readonly ReceivedMessage[]): Record<string, unknown>[] {
  return messages.flatMap(({ sequence, deviceId, moduleId, body }) =>
    eventsOf(body).map((event) => ({ sequence, deviceId, moduleId, ...event })),
  );
}

function eventsOf(body: string): Record<string, unknown>[] {
  try {
    const { Events } = JSON.parse(body) as { Events?: unknown };
    return Array.isArray(Events) ? Events.filter((event) => typeof event === 'object' && event !== null) : [];
  } catch {
    return []; // another format, which is allowed
  }
}
