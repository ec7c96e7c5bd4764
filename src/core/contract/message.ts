import type { QueueName } from './event.ts';

/** Who a message is for: Microsoft's security service, or a route of the hub's owner (contract §3). */
export type Marking = 'security' | 'telemetry';

/** The markings that messages are sent with; a local setting. */
export type Routing = Marking | 'both';

export const markingsOf = (routing: Routing): readonly Marking[] =>
  routing === 'both' ? ['security', 'telemetry'] : [routing];

type Extensible = { readonly extension?: boolean };

/** Whether messages of a marking may contain an event: extensions are not in the schema of the security service. */
export const mayContain = (marking: Marking, { extension }: Extensible): boolean =>
  marking === 'telemetry' || extension !== true;

/** Whether any message may contain an event. An event that no message may contain is not collected. */
export const isRouted = (routing: Routing, event: Extensible): boolean =>
  markingsOf(routing).some((marking) => mayContain(marking, event));

/** The hub's limit for a message, in bytes as `sizeOf` counts. Source: IoT Hub quotas and throttling: 256 KB. */
export const HUB_MESSAGE_BYTES = 256 * 1024;

/** The hub bills messages in units of this size, rounded up. Source: "Azure IoT Hub pricing information". */
export const UNIT_BYTES = 4096;

export const unitsOf = (bytes: number): number => Math.ceil(bytes / UNIT_BYTES);

/** One device-to-cloud message, complete. */
export interface Message {
  /** UUID; the same at every attempt, so that consumers can drop repeats. */
  readonly id: string;
  /** JSON text, UTF-8 when encoded. */
  readonly body: string;
  /** Size of `body` in UTF-8. */
  readonly bodyBytes: number;
  readonly priority: QueueName;
  readonly marking: Marking;
  /** Value of the setting; omitted if it is not set. */
  readonly hubResourceId?: string;
  /** Absent until the message has been numbered. */
  readonly evidence?: Evidence;
}

/** The position of a message in the chain of messages with its marking; it lets consumers detect missing messages. */
export interface Evidence {
  /** UUID; another one after the agent's state was lost. */
  readonly chain: string;
  /** From 1. The same at every attempt. */
  readonly sequence: number;
  /** SHA-256 of the body of the last message that was acknowledged before this one; zeros if there was none. */
  readonly previousDigest: string;
  /**
   * Numbers of the messages between the last acknowledged one and this one that were never acknowledged but may have
   * arrived: `7`, `7,8`, `7-12`.
   */
  readonly abandoned?: string;
}

/** A chain position of maximum length, for calculating the size of a message. */
export const LONGEST_EVIDENCE: Evidence = {
  chain: '00000000-0000-4000-8000-000000000000',
  sequence: Number.MAX_SAFE_INTEGER,
  previousDigest: '0'.repeat(64),
  abandoned: `${Number.MAX_SAFE_INTEGER}-${Number.MAX_SAFE_INTEGER}`,
};

/** Properties of a message, as the hub counts and stores them. */
export interface MessageProperties {
  readonly system: Readonly<Record<string, string>>;
  readonly application: Readonly<Record<string, string>>;
}

/** The interface id that marks a message for the security consumer; azure-iot-common's Message.setAsSecurityMessage. */
const SECURITY_INTERFACE = 'urn:azureiot:Security:SecurityAgent:1';

/** The properties that a message is sent with (contract §3). Names as in the hub's routing queries. */
export function propertiesOf({
  id,
  priority,
  marking,
  hubResourceId,
  evidence,
}: Omit<Message, 'body' | 'bodyBytes'>): MessageProperties {
  return {
    system: {
      messageId: id,
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      ...(marking === 'security' ? { interfaceId: SECURITY_INTERFACE } : {}),
    },
    application: {
      MessagePriority: priority,
      ...(hubResourceId ? { HubResourceId: hubResourceId } : {}),
      ...(marking === 'telemetry' ? { messageType: 'SecurityEvents' } : {}),
      ...(evidence === undefined ? {} : evidenceProperties(evidence)),
    },
  };
}

const evidenceProperties = ({ chain, sequence, previousDigest, abandoned }: Evidence) => ({
  Chain: chain,
  Sequence: String(sequence),
  PreviousDigest: previousDigest,
  ...(abandoned === undefined ? {} : { Abandoned: abandoned }),
});

/**
 * The size of a message for `maxMessageSizeInBytes` and for the hub's own limit, in bytes: its body, the values of its
 * system properties, and the names and values of its application properties.
 * Source: "Device-to-cloud messaging", Azure IoT Hub developer guide.
 */
export function sizeOf(message: Message): number {
  const { system, application } = propertiesOf(message);
  let size = message.bodyBytes;
  for (const value of Object.values(system)) size += Buffer.byteLength(value);
  for (const [name, value] of Object.entries(application)) size += Buffer.byteLength(name) + Buffer.byteLength(value);
  return size;
}
