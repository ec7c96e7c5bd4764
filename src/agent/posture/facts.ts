import { printable } from '../../core/base/text.ts';
import type { Snapshot } from '../../core/contract/consumers.ts';
import type { Payload } from '../../core/contract/event.ts';
import type { FirewallRow } from '../../core/contract/firewall-row.ts';
import { FIRST_ORDINARY_UID, isLoginShell } from '../host/account-files.ts';
import { type Direction, type Family, type Hook, PacketFilter } from '../host/packet-filter.ts';

/** A fact about one aspect of the system, or why it is unknown. */
export type Fact<T> =
  | {
      readonly found: T;
      /** Why more may be there than was found. */
      readonly incomplete?: string;
    }
  | { readonly unknown: string };

/** Length of a reason, in UTF-16 units: the status must stay below 32 KB. */
const LONGEST_REASON = 300;

/** A reason as it is reported: bounded, and safe for a terminal. */
export function reasonOf(text: string): string {
  const line = printable(text.slice(0, 2 * LONGEST_REASON));
  return line.length <= LONGEST_REASON ? line : `${line.slice(0, LONGEST_REASON - 1)}…`;
}

/** A fact from all rows, or from those that could be read. */
export const factOf = <T>(found: T, { source }: Snapshot, isCut: boolean): Fact<T> =>
  isCut ? { found, incomplete: reasonOf(source?.reason ?? 'the snapshot was cut') } : { found };

/** Who can log in. */
export interface AccountsPosture {
  /** Accounts that need no password; absent if the shadow file can't be read. */
  readonly withoutPassword?: number;
  /** Accounts with user id 0. */
  readonly uidZero: number;
  /** Accounts of people: an ordinary user id, and a shell to log in with. */
  readonly humans: number;
}

/** A row of LocalUsers, as far as it is assessed. */
interface UserRow {
  readonly UserId: string;
  readonly ExtraDetails?: { readonly Shell?: string; readonly Password?: string };
}

/** The unprivileged overflow user; see user_namespaces(7), overflowuid. */
const NOBODY = 65_534;

/**
 * The row of root tells whether passwords are known: it has no password state when the shadow file can't be read. Rows of
 * other accounts may lack it even if the file was read, since accounts of a directory are not in it.
 */
export function accountsPostureOf(rows: readonly Payload[]): AccountsPosture {
  const users = rows as unknown as readonly UserRow[];
  const roots = users.filter(({ UserId }) => UserId === '0');
  const isKnown = roots.length > 0 && roots.some(({ ExtraDetails }) => ExtraDetails?.Password !== undefined);
  const empty = users.filter(({ ExtraDetails }) => ExtraDetails?.Password === 'empty').length;
  return {
    ...(isKnown || empty > 0 ? { withoutPassword: empty } : {}),
    uidZero: roots.length,
    humans: users.filter(isHuman).length,
  };
}

function isHuman({ UserId, ExtraDetails }: UserRow): boolean {
  const id = Number(UserId);
  return id >= FIRST_ORDINARY_UID && id !== NOBODY && isLoginShell(ExtraDetails?.Shell ?? '');
}

/** The packet filter of the network namespace that the agent is in. */
export interface FirewallPosture {
  readonly inbound: Direction;
  readonly forward: Direction;
  readonly outbound: Direction;
  /** Rules that allow packets from anywhere to any port, or to a broad range of them. */
  readonly permissiveRules: number;
}

/** @param hasIpv6 whether IPv6 is in use; without it, missing filters for IPv6 are not a risk */
export function firewallPostureOf(rows: readonly Payload[], { hasIpv6 }: { hasIpv6: boolean }): FirewallPosture {
  const filter = new PacketFilter(rows as unknown as readonly FirewallRow[]);
  const families: readonly Family[] = hasIpv6 ? ['ip', 'ip6'] : ['ip'];
  const direction = (hook: Hook) => worst(families.map((family) => filter.direction(hook, family)));
  const permissive = new Set<FirewallRow>();
  for (const hook of ['input', 'forward'] as const)
    for (const family of families) for (const row of filter.permissive(hook, family)) permissive.add(row);
  return {
    inbound: direction('input'),
    forward: direction('forward'),
    outbound: direction('output'),
    permissiveRules: permissive.size,
  };
}

/** An attacker who is denied one family uses the other. `none` only if nothing is filtered at all. */
function worst(families: readonly Direction[]): Direction {
  const [first = 'none'] = families;
  if (families.every((each) => each === first)) return first;
  return families.some((each) => each === 'allow' || each === 'none') ? 'allow' : 'unknown';
}
