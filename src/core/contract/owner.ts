import type { Payload } from './event.ts';

/** Subordinate ids are assigned in blocks from here on: SUB_UID_MIN and SUB_UID_COUNT in login.defs(5). */
const FIRST_SUBORDINATE = 100_000;
const BLOCK = 65_536;
/** The highest user id; (uid_t)-1 means no user. */
const LAST_ID = 2 ** 32 - 2;

const ROOT = 0;
/** This can't be the id of a container, which has no spaces. */
const CONTAINER_USERS = 'ContainerId of any container';
/** One owner for the refused logins of all users, since the caller chooses the account that they name. */
const REFUSED_LOGINS = 'refused logins';

/** Owners whose events are not limited by a user's share. */
const PRIVILEGED: ReadonlySet<string | undefined> = new Set([undefined, 'UserId 0']);

/**
 * The owner to whom per-user limits attribute an event: `UserId 1000` or `ContainerId …`. It depends only on facts that
 * a user can't choose:
 * - A process without a login may set any login id (`audit_set_loginuid_perm` in the kernel), so the login decides for root
 *   only, where it stays the same after sudo.
 * - A user may create control groups with the names of containers, and a container's root may act as any user. So root of each
 *   container is an owner, and all other users of containers together are one.
 * - A set-user-id program counts for the user who started it.
 * - All ids of a block of subordinate ids are one owner, since one user can act as 65,536 of them.
 *
 * @param fallbacks fields for events without any of the above; `undefined` if these are absent, too
 */
export function ownerOf(
  valueIn: (field: string) => string | undefined,
  fallbacks: readonly string[] = [],
): string | undefined {
  const userId = valueIn('RealUserId') ?? valueIn('UserId');
  const isRoot = userId === undefined || Number(userId) === ROOT;
  const container = valueIn('ContainerId');
  if (container !== undefined) return isRoot ? `ContainerId ${container}` : CONTAINER_USERS;
  const user = isRoot ? (valueIn('LoginUserId') ?? userId) : userId;
  if (user !== undefined) return ownerOfUser(user);
  for (const field of fallbacks) {
    const value = valueIn(field);
    if (value !== undefined) return `${field} ${value}`;
  }
  return undefined;
}

const ownerOfUser = (userId: string): string => `UserId ${ownerOfId(Number(userId))}`;

/** The owner of an event with this payload; `undefined` for events about the device or the agent itself. */
export function ownerOfPayload({ ExtraDetails, ...fields }: Payload): string | undefined {
  if (fields.Result === 'Fail' && fields.Operation !== undefined) return REFUSED_LOGINS;
  return ownerOf((field) => {
    const value = fields[field] ?? (ExtraDetails as Payload | undefined)?.[field];
    return typeof value === 'string' ? value : undefined;
  });
}

/** Whether a user's share limits this owner: false for root, and for events that belong to no user. */
export const hasLimitedShare = (owner: string | undefined): owner is string => !PRIVILEGED.has(owner);

/** The user ids of an owner: one, or a block of subordinate ids. */
export const userIdsOf = (owner: number): { readonly first: number; readonly last: number } =>
  owner >= 0
    ? { first: owner, last: owner }
    : { first: firstOf(owner), last: Math.min(firstOf(owner) + BLOCK - 1, LAST_ID) };

const firstOf = (owner: number): number => FIRST_SUBORDINATE + (-owner - 1) * BLOCK;

/** The owner of a user id; negative for blocks of subordinate ids. */
export const ownerOfId = (userId: number): number =>
  userId < FIRST_SUBORDINATE ? userId : -1 - Math.floor((userId - FIRST_SUBORDINATE) / BLOCK);

/**
 * The class of a listening port: its owner, and whether it is reachable from outside. The rows of one class can be
 * complete while another class's are not, so that a user who opens many ports hides only their own.
 */
export const portClass = (isLoopback: boolean, userId: number): string =>
  `${isLoopback ? 'loopback' : 'outside'} ${ownerOfId(userId)}`;
