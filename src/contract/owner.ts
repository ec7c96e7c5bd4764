import type { Payload } from './event.ts';

/** Fields that name the user an event counts for; the first one present wins. A login stays the same after sudo or set-uid. */
const OWNERS = ['LoginUserId', 'ContainerId', 'UserId'] as const;

/** Subordinate ids are assigned to users in blocks of this size, see subuid(5); the host's own users have lower ids. */
const BLOCK = 65_536;

/** Owners whose events are not limited by a user's share. */
const PRIVILEGED: ReadonlySet<string | undefined> = new Set([undefined, 'UserId 0', 'LoginUserId 0']);

/**
 * The owner that limits per user count an event for. The field's name is part of it, so that equal values of different fields
 * stay apart. All users of a container are one owner, since its root can act as any of them. All ids of a block of subordinate
 * ids are one owner, since one user can act as 65,536 of them.
 *
 * @param fallbacks fields for events without any of the above; `undefined` if these are absent, too
 */
export function ownerOf(
  valueIn: (field: string) => string | undefined,
  fallbacks: readonly string[] = [],
): string | undefined {
  for (const field of [...OWNERS, ...fallbacks]) {
    const value = valueIn(field);
    if (value !== undefined) return `${field} ${field.endsWith('UserId') ? ownerOfId(Number(value)) : value}`;
  }
  return undefined;
}

/** The owner of an event with this payload; `undefined` for events about the device or the agent itself. */
export const ownerOfPayload = ({ ExtraDetails, ...fields }: Payload): string | undefined =>
  ownerOf((field) => {
    const value = fields[field] ?? (ExtraDetails as Payload | undefined)?.[field];
    return typeof value === 'string' ? value : undefined;
  });

/** Whether a user's share limits this owner: any but root, and events that belong to no user. */
export const hasLimitedShare = (owner: string | undefined): owner is string => !PRIVILEGED.has(owner);

/** The user ids of an owner: one, or a block of subordinate ids. */
export const userIdsOf = (owner: number): { readonly first: number; readonly last: number } =>
  owner >= 0 ? { first: owner, last: owner } : { first: -owner * BLOCK, last: (1 - owner) * BLOCK - 1 };

/** The owner of a user id; negative for blocks of subordinate ids. */
export const ownerOfId = (userId: number): number => (userId < BLOCK ? userId : -Math.floor(userId / BLOCK));
