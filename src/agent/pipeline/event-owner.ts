import type { Envelope, QueueName } from '../../core/contract/event.ts';
import { ownerOfPayload, userIdsOf } from '../../core/contract/owner.ts';
import type { QueuedEvent } from '../../core/contract/store.ts';

/** The owner of events that belong to no user, such as exits of processes. */
const NO_USER = 'system';
/** The owner of snapshots and of the agent's own events. */
const AGENT = 'agent';
const CONTAINERS = 'containers';

/** Whom an event counts for when message units are shared. */
export interface Origin {
  readonly owner: string;
  /** The rule of an alert; the name of any other event. */
  readonly rule: string;
  /** False for snapshots and the agent's own events, which have limits of their own. */
  readonly isShared: boolean;
}

/**
 * Reads an event's origin from its JSON. All elements of an event belong to one owner: the aggregator puts elements of
 * different owners into different events.
 */
export function originOf(json: string): Origin {
  try {
    const { Category, EventType, Name, Payload } = JSON.parse(json) as Envelope;
    if (Category !== 'Triggered' || EventType !== 'Security') return { owner: AGENT, rule: Name, isShared: false };
    const [first = {}] = Payload;
    return {
      owner: sharingOwner(ownerOfPayload(first) ?? NO_USER),
      rule: typeof first.RuleId === 'string' ? first.RuleId : Name,
      isShared: true,
    };
  } catch {
    return { owner: NO_USER, rule: '', isShared: true }; // damaged on disk
  }
}

/** All containers are one owner: otherwise more containers would have more units. */
const sharingOwner = (owner: string): string => (owner.startsWith('ContainerId') ? CONTAINERS : owner);

/** Bytes of a message's events that belong to one owner, rule and queue. */
export interface Use {
  readonly owner: string;
  readonly rule: string;
  readonly queue: QueueName;
  readonly bytes: number;
}

export const usesOf = (
  shares: readonly { readonly queue: QueueName; readonly events: readonly QueuedEvent[] }[],
): Use[] =>
  shares.flatMap(({ queue, events }) =>
    events.map(({ json, jsonBytes }) => {
      const { owner, rule } = originOf(json);
      return { owner, rule, queue, bytes: jsonBytes };
    }),
  );

/** Whether an owner is a user, or all containers. */
export const isUser = (owner: string): boolean => owner !== NO_USER && owner !== AGENT;

/** An owner as the status shows it: `user 2001`. */
export function ownerInWords(owner: string): string {
  if (!isUser(owner)) return 'the system';
  if (!owner.startsWith('UserId ')) return owner;
  const { first, last } = userIdsOf(Number(owner.split(' ', 2)[1]));
  return first === last ? `user ${first}` : `users ${first} to ${last}`;
}
