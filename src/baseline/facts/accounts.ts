import type { Look, Unreadable } from '../../host/host-files.ts';
import type { System } from '../system.ts';

/** A line of /etc/passwd, see passwd(5). */
export interface User {
  readonly line: number;
  readonly name: string;
  /** Whether the password is in /etc/shadow: `x`. */
  readonly shadowed: boolean;
  readonly emptyPassword: boolean;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
  readonly shell: string;
}

/** A line of /etc/group, see group(5). */
export interface Group {
  readonly line: number;
  readonly name: string;
  readonly gid: number;
  readonly members: string;
}

/** A line of /etc/shadow, see shadow(5), without its password: only what kind it is. Days are counted from 1970. */
export interface Shadow {
  readonly line: number;
  readonly name: string;
  readonly password: 'empty' | 'locked' | 'hash';
  /** How the hash is called, `$6$`; `DES` for the old kind. */
  readonly method: string;
  readonly changed: number | undefined;
  readonly minDays: number | undefined;
  readonly maxDays: number | undefined;
  readonly inactiveDays: number | undefined;
}

/** What the judged system knows of its accounts. */
export interface Accounts {
  readonly users: Look<readonly User[]>;
  readonly groups: Look<readonly Group[]>;
  readonly shadows: Look<readonly Shadow[]>;
}

/** 100,000 accounts have about 6 MB. */
const MOST_BYTES = 16 * 1024 * 1024;

export async function readAccounts(system: System): Promise<Accounts> {
  return {
    users: await readLines(system, '/etc/passwd', 4, toUser),
    groups: await readLines(system, '/etc/group', 3, toGroup),
    shadows: await readLines(system, '/etc/shadow', 5, toShadow),
  };
}

/**
 * Lines with at least so many fields; others are left out. As in the C library's nss/nss_files, so that no line is an
 * account for it that is none here: fields at the end may be missing, and blanks before a line or a number.
 */
async function readLines<T>(
  system: System,
  path: string,
  fields: number,
  parse: (line: number, fields: string[]) => T,
): Promise<Look<readonly T[]>> {
  const look = system.files.text(path, MOST_BYTES);
  if (!('found' in look)) return look;
  const entries: T[] = [];
  const content = look.found;
  for (let begin = 0, number = 1; begin < content.length; number += 1) {
    const newline = content.indexOf('\n', begin);
    const end = newline === -1 ? content.length : newline;
    const parts = content.slice(begin, end).trimStart().split(':', 9);
    if (parts.length >= fields && parts[0] !== '' && !parts[0]?.startsWith('#')) entries.push(parse(number, parts));
    begin = end + 1;
    if (number % 500 === 0) await system.pace();
  }
  return { found: entries };
}

/** As strtoul(3) reads it, within the 32 bits of an id. */
const id = (text: string | undefined) =>
  text !== undefined && /^\s*[+-]?\d{1,20}$/.test(text) ? Math.min(Math.abs(Number(text)), 0xffff_ffff) : Number.NaN;
const days = (text: string | undefined) => (text !== undefined && /^-?\d{1,7}$/.test(text) ? Number(text) : undefined);

const toUser = (line: number, [name = '', password, uid, gid, , home = '', shell = '']: string[]): User => ({
  line,
  name,
  shadowed: password === 'x' || password === '*' || password === '!' || password === '!!',
  emptyPassword: password === '',
  uid: id(uid),
  gid: id(gid),
  home,
  shell,
});

const toGroup = (line: number, [name = '', , gid, members = '']: string[]): Group => ({
  line,
  name,
  gid: id(gid),
  members,
});

const toShadow = (line: number, [name = '', hash = '', changed, min, max, , inactive]: string[]): Shadow => ({
  line,
  name,
  password: hash === '' ? 'empty' : /^[!*]/.test(hash) || hash === 'x' ? 'locked' : 'hash',
  method: /^\$[A-Za-z0-9-]{1,16}\$/.exec(hash)?.[0] ?? (hash.startsWith('_') ? 'BSDi' : 'DES'),
  changed: days(changed),
  minDays: days(min),
  maxDays: days(max),
  inactiveDays: days(inactive),
});

/** @returns whether it was the first */
function addFirst(names: Map<number, string>, id: number, name: string): boolean {
  if (names.has(id)) return false;
  names.set(id, name);
  return true;
}

/** What the judged system calls its users and groups; the number itself where there is no name. */
export class Names {
  readonly #users = new Map<number, string>();
  readonly #groups = new Map<number, string>();

  private constructor() {}

  static async of({ users, groups }: Accounts, system: System): Promise<Names> {
    const names = new Names();
    // The first one is the one that the C library finds.
    await system.select('found' in users ? users.found : [], ({ uid, name }) => addFirst(names.#users, uid, name));
    await system.select('found' in groups ? groups.found : [], ({ gid, name }) => addFirst(names.#groups, gid, name));
    return names;
  }

  user(uid: number): string {
    return this.#users.get(uid) ?? (uid === 0 ? 'root' : String(uid));
  }

  group(gid: number): string {
    return this.#groups.get(gid) ?? (gid === 0 ? 'root' : String(gid));
  }

  hasUser(uid: number): boolean {
    return uid === 0 || this.#users.has(uid);
  }

  hasGroup(gid: number): boolean {
    return gid === 0 || this.#groups.has(gid);
  }
}

const NO_SHELL = /(?:^|\/)(?:nologin|false|true|sync|halt|shutdown)$/;

/** Whether it can be logged in with: an empty shell is /bin/sh, see passwd(5). */
export const hasShell = ({ shell }: User): boolean => !NO_SHELL.test(shell);

/** Where ordinary users begin by default, see login.defs(5). */
export const FIRST_ORDINARY_UID = 1_000;

/** Where ordinary users begin, or why nobody can say. */
export function firstOrdinaryUid(system: System): number | Unreadable {
  const look = system.files.text('/etc/login.defs');
  if ('unreadable' in look) return look;
  const set = 'found' in look ? /^[ \t]*UID_MIN[ \t]+(\d{1,9})/m.exec(look.found)?.[1] : undefined;
  return set === undefined ? FIRST_ORDINARY_UID : Number(set);
}
