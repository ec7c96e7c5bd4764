import { type ModuleId, nameOf } from './identity.ts';
import { parsePropertyBag, sizeInBytes } from './property-bag.ts';

/** A hub takes no larger one. Source: "Create and read IoT Hub messages": 256 KB. */
export const LARGEST_MESSAGE = 256 * 1024;

/** A device-to-cloud message as the hub has it. */
export interface ReceivedMessage extends ModuleId {
  /** Counts up by one per message, over all modules, from 1. */
  readonly sequence: number;
  readonly enqueuedAt: Date;
  readonly body: string;
  /** By the names of routing queries: `messageId`, `contentType`, `contentEncoding`, `interfaceId`, … */
  readonly systemProperties: Readonly<Record<string, string>>;
  readonly applicationProperties: Readonly<Record<string, string>>;
  /** What it counts for against the limits: body and properties. */
  readonly sizeBytes: number;
  /** The module has sent a message with this id before. Hubs keep both; so does this one. */
  readonly duplicate: boolean;
}

/** What is kept at most; the oldest go first. */
const KEPT = 100_000;

/** The messages taken, oldest first. */
export class MessageLog {
  readonly all: ReceivedMessage[] = [];
  readonly #ids = new Set<string>();
  #sequence = 0;

  /** @throws URIError when the properties' encoding is broken; RangeError when it is too large */
  add(module: ModuleId, body: Buffer, propertyBag: string, enqueuedAt: Date): ReceivedMessage {
    const properties = parsePropertyBag(propertyBag);
    const sizeBytes = sizeInBytes(body, properties);
    if (sizeBytes > LARGEST_MESSAGE)
      throw new RangeError(`a message of ${sizeBytes} bytes; the limit is ${LARGEST_MESSAGE}`);
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
    if (this.all.length > KEPT) this.all.shift();
    return message;
  }

  #remember(id: string): void {
    this.#ids.add(id);
    for (const oldest of this.#ids) {
      if (this.#ids.size <= KEPT) return;
      this.#ids.delete(oldest);
    }
  }

  /** Forgets the messages. Sequence numbers go on, and ids are remembered. */
  clear(): void {
    this.all.length = 0;
  }
}

/** The events inside messages of the security agent's form, each with its message's sequence number and module. */
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
    return []; // not the agent's form; what a message holds is its sender's affair
  }
}
