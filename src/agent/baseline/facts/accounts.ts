import {
  FIRST_ORDINARY_UID,
  type GroupLine,
  groupLines,
  isLoginShell,
  type PasswdLine,
  passwdLines,
  type ShadowLine,
  shadowLines,
} from '../../host/account-files.ts';
import { type CLibrary, cLibraryOf } from '../../host/c-library.ts';
import type { Look, Unreadable } from '../../host/host-files.ts';
import type { Access } from '../access.ts';

/** The part of `Access` that is needed here. */
type Needs = Pick<Access, 'files' | 'pace'>;

/** A line of /etc/passwd that is an account. */
export interface User {
  readonly line: number;
  readonly name: string;
  /** Whether the line holds no password hash, but `x` or an invalid one. */
  readonly shadowed: boolean;
  readonly emptyPassword: boolean;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
  readonly shell: string;
}

/** A line of /etc/group that is a group. */
export interface Group {
  readonly line: number;
  readonly name: string;
  readonly gid: number;
  readonly members: string;
}

/** A line of /etc/shadow that belongs to an account. */
export type Shadow = ShadowLine;

/** A line that is an instruction for NIS; see nsswitch.conf(5), compat mode. */
export interface NisLine {
  readonly line: number;
  readonly name: string;
}

/** The accounts of the scanned system. */
export interface Accounts {
  readonly users: Look<readonly User[]>;
  readonly groups: Look<readonly Group[]>;
  readonly shadows: Look<readonly Shadow[]>;
  readonly nis: Readonly<Record<AccountFile, readonly NisLine[]>>;
}

export type AccountFile = 'passwd' | 'group' | 'shadow';

/** 100,000 accounts take about 6 MB. */
const MAX_BYTES = 16 * 1024 * 1024;

export async function readAccounts(access: Needs): Promise<Accounts> {
  const nis: Record<AccountFile, NisLine[]> = { passwd: [], group: [], shadow: [] };
  return {
    users: await readLines(access, 'passwd', passwdLines, toUser, nis),
    groups: await readLines(access, 'group', groupLines, toGroup, nis),
    shadows: await readLines(access, 'shadow', shadowLines, (line) => line, nis),
    nis,
  };
}

interface AnyLine extends NisLine {
  readonly nis: boolean;
}

/** Reads a file as bytes, so that no password hash ends up in a string that stays in memory. */
async function readLines<L extends AnyLine, T>(
  access: Needs,
  file: AccountFile,
  linesOf: (bytes: Buffer, library: CLibrary) => Iterable<L>,
  convert: (line: L) => T,
  nis: Record<AccountFile, NisLine[]>,
): Promise<Look<readonly T[]>> {
  const look = access.files.bytes(`/etc/${file}`, MAX_BYTES);
  if (!('found' in look)) return look;
  const entries: T[] = [];
  let read = 0;
  for (const line of linesOf(look.found, cLibraryOf(access.files.root))) {
    if (line.nis) nis[file].push({ line: line.line, name: line.name });
    else entries.push(convert(line));
    if (++read % 500 === 0) await access.pace();
  }
  return { found: entries };
}

const toUser = ({ line, name, password, userId, groupId, home, shell }: PasswdLine): User => ({
  line,
  name,
  shadowed: password === 'none',
  emptyPassword: password === 'empty',
  uid: userId,
  gid: groupId,
  home,
  shell,
});

const toGroup = ({ line, name, groupId, members }: GroupLine): Group => ({ line, name, gid: groupId, members });

/** @returns whether it was the first */
function addFirst(names: Map<number, string>, id: number, name: string): boolean {
  if (names.has(id)) return false;
  names.set(id, name);
  return true;
}

/** Names of the scanned system's users and groups; the id itself if it has no name. */
export class Names {
  readonly #users = new Map<number, string>();
  readonly #groups = new Map<number, string>();

  private constructor() {}

  static async of({ users, groups }: Accounts, access: Pick<Access, 'select'>): Promise<Names> {
    const names = new Names();
    // If several entries have the same id, the C library finds the first.
    await access.select('found' in users ? users.found : [], ({ uid, name }) => addFirst(names.#users, uid, name));
    await access.select('found' in groups ? groups.found : [], ({ gid, name }) => addFirst(names.#groups, gid, name));
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

/** Whether the account can log in. */
export const hasShell = ({ shell }: User): boolean => isLoginShell(shell);

/** Whether the account's home is a folder of its own. */
export const hasOwnHome = ({ home }: User): boolean => home.startsWith('/') && home !== '/';

/** The lowest user id of ordinary users, or why it cannot be determined. */
export function firstOrdinaryUid(access: Pick<Access, 'files'>): number | Unreadable {
  const look = access.files.text('/etc/login.defs');
  if ('unreadable' in look) return look;
  const set = 'found' in look ? /^[ \t]*UID_MIN[ \t]+(\d{1,9})/m.exec(look.found)?.[1] : undefined;
  return set === undefined ? FIRST_ORDINARY_UID : Number(set);
}
