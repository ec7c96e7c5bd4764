import type { Account } from '../contract/sources.ts';

/** No kernel id: setuid(2) and friends take it for "leave as it is". */
const NO_ID = 2 ** 32 - 1;
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

interface GroupEntry {
  readonly name: string;
  readonly id: number;
  readonly members: readonly string[];
}

/** An id of passwd(5): digits only, and one the kernel can have. */
function parseId(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,10}$/.test(text)) return undefined;
  const id = Number(text);
  return id < NO_ID ? id : undefined;
}

/** Names beginning with `+` and `-` are not accounts but instructions to NIS; see nsswitch.conf(5), compat mode. */
const isName = (text: string | undefined): text is string => text !== undefined && /^[^+\-#\s]/.test(text);

/**
 * Reads passwd(5): `root:x:0:0:root:/root:/bin/bash`. Lines that are none are passed over; the fields behind the group
 * id may be missing, as the C library has it. The same user id can be there twice, and that is worth knowing; the same
 * name with the same id is there once, however many of the system's sources have it.
 */
export function parsePasswd(text: string): PasswdEntry[] {
  const entries = new Map<string, PasswdEntry>();
  for (const line of text.split('\n')) {
    const [name, secret, uid, gid, , , program = ''] = line.split(':');
    const shell = program.trim();
    const userId = parseId(uid);
    const primaryGroupId = parseId(gid);
    if (!isName(name) || userId === undefined || primaryGroupId === undefined) continue;
    if (entries.has(`${userId}:${name}`)) continue;
    const password = passwordIn(secret ?? '');
    entries.set(`${userId}:${name}`, {
      name,
      userId,
      primaryGroupId,
      ...(shell === '' ? {} : { shell }),
      ...(password === undefined ? {} : { password }),
    });
  }
  return [...entries.values()];
}

/**
 * The second field of passwd(5): `x`, or anything else that can't be a password's hash, says that it is kept elsewhere,
 * in the shadow file or by a directory. Nothing at all says that there is none to be asked for.
 */
function passwordIn(secret: string): Password | undefined {
  if (secret === '') return 'empty';
  return secret === 'x' || /^[*!]/.test(secret) ? undefined : 'set';
}

/** Reads group(5): `sudo:x:27:alice,bob`. Lines that are none are passed over. */
export function parseGroup(text: string): GroupEntry[] {
  const entries: GroupEntry[] = [];
  for (const line of text.split('\n')) {
    const [name, , gid, members = ''] = line.split(':');
    const id = parseId(gid);
    if (!isName(name) || id === undefined) continue;
    entries.push({ name: name.slice(0, LONGEST_NAME), id, members: members.split(',').map((member) => member.trim()) });
  }
  return entries;
}

const [NEWLINE, COLON, BANG, STAR] = [...'\n:!*'].map((character) => character.charCodeAt(0));

/**
 * Reads shadow(5) for how each account's password stands: `alice:$y$j9T$…:19000:0:99999:7:::` is `set`, a field that
 * begins with `!` or `*` is `locked`, and nothing between the colons is `empty`.
 *
 * It is read as bytes, of which only the names become texts: a hash can't be where it should not, since it is nowhere.
 */
export function parseShadow(bytes: Buffer): Map<string, Password> {
  const passwords = new Map<string, Password>();
  for (let start = 0; start < bytes.length; ) {
    const newline = bytes.indexOf('\n', start);
    const end = newline === -1 ? bytes.length : newline;
    const colon = bytes.subarray(start, end).indexOf(':');
    if (colon > 0) {
      const name = bytes.toString('utf8', start, start + colon);
      if (isName(name) && !passwords.has(name)) passwords.set(name, standing(bytes[start + colon + 1]));
    }
    start = end + 1;
  }
  return passwords;
}

/** By the first byte behind the name's colon. */
function standing(first: number | undefined): Password {
  if (first === BANG || first === STAR) return 'locked';
  return first === COLON || first === NEWLINE || first === undefined ? 'empty' : 'set';
}

/**
 * Puts the files together: every account with its groups, the primary one first, none twice.
 *
 * Of several accounts with one name, only the first is a member of groups: by that name, no other can be had.
 */
export function accountsFrom(
  passwd: string,
  group: string,
  passwords: ReadonlyMap<string, Password> = new Map(),
): Account[] {
  const names = new Map<number, string>();
  const memberships = new Map<string, Set<number>>();
  for (const { name, id, members } of parseGroup(group)) {
    if (!names.has(id)) names.set(id, name);
    for (const member of members) {
      const of = memberships.get(member);
      if (of === undefined) memberships.set(member, new Set([id]));
      else of.add(id);
    }
  }
  return parsePasswd(passwd).map((entry) => {
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
