import { createHash } from 'node:crypto';
import { uuidOf } from '../../core/base/stable-id.ts';
import type { QueueName } from '../../core/contract/event.ts';
import {
  HUB_MESSAGE_BYTES,
  LONGEST_EVIDENCE,
  type Marking,
  type Message,
  mayContain,
  sizeOf,
  UNIT_BYTES,
  unitsOf,
} from '../../core/contract/message.ts';
import type { QueuedEvent } from '../../core/contract/store.ts';
import type { EventQueues } from './queue.ts';
import { shorten } from './shorten.ts';
import type { Accepts } from './store.ts';

/** The largest message that is packed: 4 KB are reserved for what the hub adds. */
export const PACKED_MESSAGE_BYTES = HUB_MESSAGE_BYTES - 4 * 1024;

/** The sender, as every message names it. */
export interface Sender {
  readonly version: string;
  /** UUID. */
  readonly id: string;
}

/** What a queue gave to a pack. */
export interface Share {
  readonly queue: QueueName;
  readonly events: readonly QueuedEvent[];
  readonly positions: ReadonlySet<number>;
}

/** Events that are sent together. They stay reserved in their queues until they are settled. */
export interface Pack {
  readonly priority: QueueName;
  /** The events, by the queue they came from. */
  readonly shares: readonly Share[];
  readonly eventCount: number;
  /** Whether a message with that mark may contain any of the events. */
  hasEventsFor(marking: Marking): boolean;
  /** The pack as a message without a number, marked for its consumer, with the events that such a message may contain. */
  message(marking: Marking): Message;
}

/** `tooLarge`: the first event of the queue cannot be shortened to fit; only that event is reserved. */
export type PackResult = Pack | 'empty' | { readonly tooLarge: Share };

/** The limit that the daily budget sets, below the limit of a message. */
export interface Affordable {
  readonly bytes: number;
  /** Called when the first event fits into a message, but not into this limit; nothing is packed then. @param bytes of that message */
  readonly exceeded: (bytes: number) => void;
}

/** The limits of a message, in bytes. */
interface Limits {
  readonly maxMessageSizeInBytes: number;
  /** Only one event that is alone may make the message larger. Default: `maxMessageSizeInBytes`. */
  readonly usualBytes?: number;
  readonly affordable?: Affordable;
}

/** Which events may be packed, if not all. */
export interface Selection {
  /** Events that stay in their queue: by position, with the bytes of their JSON. */
  readonly leftOut: Readonly<Record<QueueName, ReadonlyMap<number, number>>>;
  /** Maximum number of events of the first queue; no events of the other queue. */
  readonly atMost?: number;
  /** Position of the only event to pack, in the first queue. */
  readonly alone?: number;
  /** Only events of the first queue with these names; no events of the other queue. */
  readonly only?: ReadonlySet<string>;
  /** Decides about each event, keyed by queue. */
  readonly accepts?: Readonly<Partial<Record<QueueName, Accepts>>>;
  /** Only events of the first queue from this position on. */
  readonly from?: number;
}

const NO_NAMES: ReadonlySet<string> = new Set();
const ALL: Selection = { leftOut: { High: new Map(), Low: new Map() } };

type PackedQueues = Pick<EventQueues, 'take' | 'settle'>;

/**
 * Packs the oldest events of `first` into a message, and fills it up from the other queue: with as many High events as
 * fit; with Low events up to one unit, and beyond that only as far as they do not add a unit. So the first High event
 * does not use up all Low events, and some are left to fill up the next message.
 *
 * The events' JSON is copied from disk unchanged, not parsed and serialized again.
 */
export function pack(
  queues: PackedQueues,
  first: QueueName,
  sender: Sender,
  {
    hubResourceId,
    extensions = NO_NAMES,
    ...limits
  }: Limits & {
    readonly hubResourceId: string;
    /** Names of the events that are not in the published contract. If omitted, none is sent. */
    readonly extensions?: ReadonlySet<string>;
  },
  selection: Selection = ALL,
): PackResult {
  const head = `{"AgentVersion":${JSON.stringify(sender.version)},"AgentId":"${sender.id}","MessageSchemaVersion":"1.0","Events":[`;
  const bare = bareSize(head, sender, hubResourceId);
  const space = spaceFor(limits, bare);
  const taken = choose(queues, first, space.usual, selection);
  const [oldest] = taken;
  if (oldest === undefined) return 'empty';
  let texts: readonly Text[] = taken;
  if (taken.length === 1 && oldest.jsonBytes > space.affordable) {
    if (space.affordable < space.full) {
      queues.settle(first, 'kept');
      limits.affordable?.exceeded(bare + oldest.jsonBytes);
      return 'empty';
    }
    const shorter = shorten(oldest.json, space.full);
    if (shorter === undefined) return { tooLarge: share(first, taken) };
    texts = [{ name: oldest.name, json: shorter, jsonBytes: Buffer.byteLength(shorter) }];
  }
  const size = sizeInBody(texts);
  const left = space.usual - size;
  const other: QueueName = first === 'High' ? 'Low' : 'High';
  const { atMost, alone, only } = selection;
  const fillsUp = left > 0 && atMost === undefined && alone === undefined && only === undefined;
  const added = fillsUp ? fill(queues, other, { from: bare + size, space: left }, selection) : [];
  const shares = [share(first, taken), ...(added.length > 0 ? [share(other, added)] : [])];
  return packOf(shares, [...texts, ...added], { head, hubResourceId, extensions });
}

/** The size of a message without events. The two markings differ by a few bytes; the longer one is counted. */
function bareSize(head: string, { id }: Sender, hubResourceId: string): number {
  const draft = {
    id,
    body: '',
    bodyBytes: emptyBytes(head),
    priority: 'High',
    hubResourceId,
    evidence: LONGEST_EVIDENCE,
  } as const;
  return Math.max(sizeOf({ ...draft, marking: 'telemetry' }), sizeOf({ ...draft, marking: 'security' }));
}

const emptyBytes = (head: string): number => Buffer.byteLength(`${head}]}`);

/** The bytes that the events of a message may have: at all, within the budget, and when they are several. */
function spaceFor({ maxMessageSizeInBytes, usualBytes = maxMessageSizeInBytes, affordable }: Limits, bare: number) {
  const full = Math.min(maxMessageSizeInBytes, PACKED_MESSAGE_BYTES) - bare;
  const within = Math.min(full, (affordable?.bytes ?? Number.POSITIVE_INFINITY) - bare);
  return { full, affordable: within, usual: Math.min(within, usualBytes - bare) };
}

/** `texts` is the JSON of the events of all shares; one may be shortened. */
function packOf(
  shares: readonly Share[],
  texts: readonly Text[],
  {
    head,
    hubResourceId,
    extensions,
  }: { readonly head: string; readonly hubResourceId: string; readonly extensions: ReadonlySet<string> },
): Pack {
  const textsFor = (marking: Marking) =>
    texts.filter(({ name }) => mayContain(marking, { extension: extensions.has(name) }));
  const priority = shares.some(({ queue }) => queue === 'High') ? 'High' : 'Low';
  return {
    priority,
    shares,
    eventCount: texts.length,
    hasEventsFor: (marking) => textsFor(marking).length > 0,
    message(marking) {
      const contained = textsFor(marking);
      return {
        id: messageId(marking, shares),
        body: `${head}${contained.map(({ json }) => json).join(',')}]}`,
        bodyBytes: emptyBytes(head) + sizeInBody(contained) - 1, // no comma after the last event
        priority,
        marking,
        ...(hubResourceId === '' ? {} : { hubResourceId }),
      };
    },
  };
}

type Text = Pick<QueuedEvent, 'name' | 'json' | 'jsonBytes'>;

/** Bytes of the events in the body, with a comma for each. */
const sizeInBody = (texts: readonly Text[]): number => texts.reduce((all, { jsonBytes }) => all + jsonBytes + 1, 0);

const share = (queue: QueueName, events: readonly QueuedEvent[]): Share => ({
  queue,
  events,
  positions: new Set(events.map(({ position }) => position)),
});

/** The oldest selected events of `queue` that fit, but at least one. Reserves nothing if no event is selected. */
function choose(
  queues: PackedQueues,
  queue: QueueName,
  space: number,
  { leftOut, atMost, alone, only, accepts = {}, from = 0 }: Selection,
): readonly QueuedEvent[] {
  const usual = { names: only, except: leftOut[queue], accepts: accepts[queue], from };
  const wanted = alone === undefined ? usual : { position: alone };
  return fitting(queues.take(queue, space, true, wanted), space, true).slice(0, atMost);
}

function fill(
  queues: PackedQueues,
  queue: QueueName,
  { from, space }: { from: number; space: number },
  { leftOut, accepts = {} }: Selection,
): readonly QueuedEvent[] {
  const taken = queues.take(queue, space, false, { except: leftOut[queue], accepts: accepts[queue] });
  const fits = fitting(taken, space, false);
  const chosen = queue === 'High' ? fits : upToUnitEnd(fits, from);
  if (taken.length > 0 && chosen.length === 0) queues.settle(queue, 'kept');
  return chosen;
}

function fitting(events: readonly QueuedEvent[], space: number, atLeastOne: boolean): readonly QueuedEvent[] {
  let left = space;
  const end = events.findIndex(({ jsonBytes }, index) => {
    left -= jsonBytes + 1;
    return left < 0 && !(atLeastOne && index === 0);
  });
  return end < 0 ? events : events.slice(0, end);
}

/** The events that fill a message of `size` bytes up to one unit, and then up to the end of its last unit. */
function upToUnitEnd(events: readonly QueuedEvent[], size: number): readonly QueuedEvent[] {
  let total = size;
  const end = events.findIndex(({ jsonBytes }) => {
    const grown = total + jsonBytes + 1;
    if (total >= UNIT_BYTES && unitsOf(grown) > unitsOf(total)) return true;
    total = grown;
    return false;
  });
  return end < 0 ? events : events.slice(0, end);
}

/**
 * A UUID derived from the message's contents, so that the same events have the same message id when they are packed
 * again, even after a restart.
 */
function messageId(marking: Marking, shares: readonly Share[]): string {
  const hash = createHash('sha256').update(marking);
  for (const { queue, events } of shares) {
    for (const { position, json } of events) hash.update(`${queue} ${position} `).update(json.slice(0, 64));
  }
  return uuidOf(hash.digest('hex'));
}
