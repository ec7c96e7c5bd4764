import { createHash } from 'node:crypto';
import type { QueueName } from '../contract/event.ts';
import { type Marking, type Message, sizeOf } from '../contract/message.ts';
import type { QueuedEvent } from '../contract/store.ts';
import type { EventQueues } from './queue.ts';
import { shorten } from './shorten.ts';

/** The hub takes 256 KB; 4 KB are left for what it adds. Source: IoT Hub quotas and throttling. */
const HUB_LIMIT_BYTES = 252 * 1024;

/** What every message says of its sender. */
export interface Sender {
  readonly version: string;
  /** UUID. */
  readonly id: string;
}

/** Events that go out together. They stay reserved in their queues until those are told what became of them. */
export interface Pack {
  readonly priority: QueueName;
  /** Queues that gave events to it. */
  readonly from: readonly QueueName[];
  readonly eventCount: number;
  /** The pack as a message, marked for its consumer. */
  message(marking: Marking): Message;
}

/** `tooLarge`: the first event of the queue cannot be made to fit; it alone is reserved now. */
export type PackResult = Pack | 'empty' | 'tooLarge';

/**
 * Takes the oldest events of `first` into a message, and fills it up from the other queue.
 *
 * The events' JSON is copied as it lies on disk, not parsed and written anew.
 */
export function pack(
  queues: Pick<EventQueues, 'take'>,
  first: QueueName,
  sender: Sender,
  { maxMessageSizeInBytes, hubResourceId }: { maxMessageSizeInBytes: number; hubResourceId: string },
): PackResult {
  const head = `{"AgentVersion":${JSON.stringify(sender.version)},"AgentId":"${sender.id}","MessageSchemaVersion":"1.0","Events":[`;
  const draft = { id: sender.id, body: `${head}]}`, priority: 'High', marking: 'telemetry', hubResourceId } as const;
  // The two markings differ by a few bytes; whichever is longer is counted.
  const room =
    Math.min(maxMessageSizeInBytes, HUB_LIMIT_BYTES) -
    Math.max(sizeOf(draft), sizeOf({ ...draft, marking: 'security' }));

  const taken = queues.take(first, room, true);
  const [oldest] = taken;
  if (oldest === undefined) return 'empty';
  const texts = taken.map(({ json }) => json);
  if (taken.length === 1 && Buffer.byteLength(oldest.json) > room) {
    const shorter = shorten(oldest.json, room);
    if (shorter === undefined) return 'tooLarge';
    texts[0] = shorter;
  }
  const left = room - texts.reduce((all, json) => all + Buffer.byteLength(json) + 1, 0);
  const other: QueueName = first === 'High' ? 'Low' : 'High';
  const added = left > 0 ? queues.take(other, left, false) : [];
  const body = `${head}${[...texts, ...added.map(({ json }) => json)].join(',')}]}`;
  const priority: QueueName = first === 'High' || added.length > 0 ? 'High' : 'Low';
  return {
    priority,
    from: added.length > 0 ? [first, other] : [first],
    eventCount: taken.length + added.length,
    message: (marking) => ({
      id: messageId(marking, first, taken, other, added),
      body,
      priority,
      marking,
      ...(hubResourceId === '' ? {} : { hubResourceId }),
    }),
  };
}

/**
 * A UUID made from what is in the message, so that the same events packed again, also after a restart, have the same
 * message id. Layout: RFC 9562, version 8.
 */
function messageId(
  marking: Marking,
  first: QueueName,
  taken: readonly QueuedEvent[],
  other: QueueName,
  added: readonly QueuedEvent[],
): string {
  const hash = createHash('sha256').update(marking);
  for (const [queue, events] of [
    [first, taken],
    [other, added],
  ] as const) {
    for (const { position, json } of events) hash.update(`${queue} ${position} `).update(json.slice(0, 64));
  }
  const bytes = hash.digest().subarray(0, 16);
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x80;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
