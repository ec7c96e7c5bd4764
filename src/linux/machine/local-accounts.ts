import type { Account } from '../../contract/sources.ts';
import { groupLines, NO_ID, passwdLines, shadowLines } from '../../host/account-files.ts';

/** LOGIN_NAME_MAX of linux/limits.h; a group's name may be longer, but isn't shown further. */
const LONGEST_NAME = 256;

export type Password = NonNullable<Account['password']>;

interface PasswdEntry {
  readonly name: string;
  readonly userId: number;
  readonly primaryGroupId: number;
  readonly shell?: string;
  /** Absent when it is kept elsewhere, which is the rule. */
  readonly password?: Password;
}

const isId = (id: number) => id < NO_ID; // NaN isn't

/**
 * The accounts of a passwd file, without NIS instructions. The same user id can be there twice, and that is worth knowing;
 * the same name with the same id is there once, however many of the system's sources have it.
 */
export function passwdEntries(passwd: Buffer): PasswdEntry[] {
  const entries = new Map<string, PasswdEntry>();
  for (const { name, nis, userId, groupId, password, shell: program } of passwdLines(passwd)) {
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

/** How each account's password stands by the shadow file; of several with one name, the first holds. */
export function passwordsIn(shadow: Buffer): Map<string, Password> {
  const passwords = new Map<string, Password>();
  for (const { name, nis, password } of shadowLines(shadow))
    if (!nis && !passwords.has(name)) passwords.set(name, password === 'hash' ? 'set' : password);
  return passwords;
}

/**
 * Puts the files together: every account with its groups, the primary one first, none twice.
 *
 * Of several accounts with one name, only the first is a member of groups: by that name, no other can be had.
 */
export function accountsFrom(
  passwd: Buffer,
  group: Buffer,
  passwords: ReadonlyMap<string, Password> = new Map(),
): Account[] {
  const names = new Map<number, string>();
  const memberships = new Map<string, Set<number>>();
  for (const { name, nis, groupId, members } of groupLines(group)) {
    if (nis || !isId(groupId)) continue;
    if (!names.has(groupId)) names.set(groupId, name.slice(0, LONGEST_NAME));
    for (const member of members.split(',').map((each) => each.trim())) {
      const of = memberships.get(member);
      if (of === undefined) memberships.set(member, new Set([groupId]));
      else of.add(groupId);
    }
  }
  return passwdEntries(passwd).map((entry) => {
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
