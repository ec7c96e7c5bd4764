import type { Payload } from '../../core/contract/event.ts';
import { FIRST_ORDINARY_UID, isLoginShell } from '../host/account-files.ts';

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
