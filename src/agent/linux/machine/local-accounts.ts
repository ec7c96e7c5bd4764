import type { Account } from '../../../core/contract/sources.ts';
import { groupLines, NO_ID, passwdLines, shadowLines } from '../../host/account-files.ts';
import { GLIBC } from '../../host/c-library.ts';

/** LOGIN_NAME_MAX of linux/limits.h. A group's name may be longer, and is then cut. */
const LONGEST_NAME = 256;

export type Password = NonNullable<Account['password']>;

interface PasswdEntry {
  readonly name: string;
  readonly userId: number;
  readonly primaryGroupId: number;
  readonly shell?: string;
  /** Absent when the hash is in the shadow file, which is usual. */
  readonly password?: Password;
}

const isId = (id: number) => id < NO_ID; // NaN isn't

/**
 * The accounts of a passwd file, without NIS instructions. Several accounts with the same user id are all listed, since that
 * is worth knowing; the same name with the same id is listed once, even if several sources of the name service have it.
 */
export function passwdEntries(passwd: Buffer, library = GLIBC): PasswdEntry[] {
  const entries = new Map<string, PasswdEntry>();
  for (const { name, nis, userId, groupId, password, shell: program } of passwdLines(passwd, library)) {
    if (nis || !isId(userId) || !isId(groupId) || entries.has(`${userId}:${name}`)) continue;
    const shell = program.trim();
    entries.set(`${userId}:${name}`, {
      name,
      userId,
      primaryGroupId: groupId,
      ...(shell === '' ? {} : { shell }),
      ...(password === 'empty' ? { password } : password === 'hash' ? { password: 'set' } : {}),
    });
  }
  return [...entries.values()];
}

/** The state of each account's password, from the shadow file; of several lines with one name, the first holds. */
export function passwordsIn(shadow: Buffer, library = GLIBC): Map<string, Password> {
  const passwords = new Map<string, Password>();
  for (const { name, nis, password } of shadowLines(shadow, library))
    if (!nis && !passwords.has(name)) passwords.set(name, password === 'hash' ? 'set' : password);
  return passwords;
}

/**
 * Combines the files: every account with its groups, the primary one first, without duplicates.
 *
 * If several accounts share a name, only the first one gets the groups: looking up the name returns only that one.
 */
export function accountsFrom(
  passwd: Buffer,
  group: Buffer,
  passwords: ReadonlyMap<string, Password> = new Map(),
  library = GLIBC,
): Account[] {
  const names = new Map<number, string>();
  const memberships = new Map<string, Set<number>>();
  for (const { name, nis, groupId, members } of groupLines(group, library)) {
    if (nis || !isId(groupId)) continue;
    if (!names.has(groupId)) names.set(groupId, name.slice(0, LONGEST_NAME));
    for (const member of members.split(',').map((each) => each.trim())) {
      const of = memberships.get(member);
      if (of === undefined) memberships.set(member, new Set([groupId]));
      else of.add(groupId);
    }
  }
  return passwdEntries(passwd, library).map((entry) => {
    const password = entry.password ?? passwords.get(entry.name);
    const ids = new Set([entry.primaryGroupId, ...(memberships.get(entry.name) ?? [])]);
    memberships.delete(entry.name);
    return {
      ...entry,
      ...(password === undefined ? {} : { password }),
      groups: [...ids].map((id) => ({ id, name: names.get(id) ?? String(id) })),
    };
  });
}
