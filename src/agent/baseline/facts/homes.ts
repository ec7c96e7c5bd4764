import { closeSync, constants, fstatSync, lstatSync, openSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { openEntries, placeIn, textOf } from '../../host/entry-names.ts';
import { type Look, type Unreadable, whyNot } from '../../host/host-files.ts';
import type { Access } from '../access.ts';
import type { User } from './accounts.ts';

/** The part of `Access` that is needed here. */
type Needs = Pick<Access, 'files' | 'at' | 'pace'>;

/** An entry of a user's home. Symbolic links are not followed. */
export interface HomeEntry {
  /** Below the home: `.ssh/authorized_keys`. */
  readonly path: string;
  readonly stats: Stats;
}

/** A home at the time when it was opened. */
export interface Home {
  readonly user: User;
  readonly stats: Look<Stats>;
  /** Dot files, one level deep, and the contents of `.ssh`; at most 200 of each. */
  readonly entries: readonly HomeEntry[];
  /** Why entries may be missing. */
  readonly cut: Unreadable | undefined;
}

/** The homes of users who can log in. */
export interface Homes {
  readonly homes: readonly Home[];
  /** Number of homes, including those that were not read. */
  readonly total: number;
  /** Why the homes of some users may be missing. */
  readonly unreadable?: Unreadable;
}

/** Limit of homes that are read. If there are more, the rules report that only these were evaluated. */
export const MAX_HOMES = 1_000;
const MAX_ENTRIES = 200;
const OPEN_FOLDER = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/**
 * Reads the homes of users who can log in. Users may change their homes during the scan. So a folder is opened once,
 * without following links, and everything in it is accessed by /proc/self/fd, never by its name again. Only the folder
 * `.ssh` in a home is opened.
 */
export async function readHomes(users: readonly User[], access: Needs): Promise<readonly Home[]> {
  const homes: Home[] = [];
  for (const user of users.slice(0, MAX_HOMES)) {
    access.at(user.home);
    homes.push(readHome(user, access));
    await access.pace();
  }
  return homes;
}

function readHome(user: User, access: Needs): Home {
  const stats = access.files.stat(user.home);
  if (!('found' in stats) || !stats.found.isDirectory()) return { user, stats, entries: [], cut: undefined };
  const isRemote = (path: string) => access.files.remote.includes(join(user.home, path));
  let folder: number;
  try {
    folder = openSync(access.files.real(user.home), OPEN_FOLDER);
  } catch (error) {
    return { user, stats: whyNot(error, user.home), entries: [], cut: undefined };
  }
  try {
    const opened = { found: fstatSync(folder) };
    const dots = entriesOf(folder, '', (name) => name.startsWith('.'), isRemote);
    if (!('found' in dots)) return { user, stats: dots, entries: [], cut: undefined };
    const ssh = dots.found.entries.find(({ path }) => path === '.ssh');
    const inSsh = ssh === undefined ? NOTHING : sshEntries(folder, ssh, isRemote);
    return {
      user,
      stats: opened,
      entries: [...dots.found.entries, ...inSsh.entries],
      cut: dots.found.cut ?? inSsh.cut,
    };
  } finally {
    closeSync(folder);
  }
}

interface Entries {
  readonly entries: readonly HomeEntry[];
  readonly cut: Unreadable | undefined;
}
const NOTHING: Entries = { entries: [], cut: undefined };
const TOO_MANY: Unreadable = { unreadable: `has more than ${MAX_ENTRIES} entries`, denied: false };
const A_LINK: Unreadable = { unreadable: 'its .ssh is a symbolic link, which is not followed', denied: false };
const REMOTE: Unreadable = { unreadable: 'something in it is on a network or FUSE file system', denied: false };

type IsRemote = (path: string) => boolean;

function sshEntries(home: number, { stats }: HomeEntry, isRemote: IsRemote): Entries {
  if (stats.isSymbolicLink()) return { entries: [], cut: A_LINK };
  if (!stats.isDirectory()) return NOTHING;
  let folder: number;
  try {
    folder = openSync(`/proc/self/fd/${home}/.ssh`, OPEN_FOLDER);
  } catch (error) {
    const why = whyNot(error, '.ssh');
    return { entries: [], cut: 'unreadable' in why ? why : A_LINK }; // else it has just been exchanged
  }
  try {
    const look = entriesOf(folder, '.ssh', () => true, isRemote);
    return 'found' in look ? look.found : { entries: [], cut: look };
  } finally {
    closeSync(folder);
  }
}

/** Mount points of remote file systems are skipped: lstat(2) on them may never return. */
function entriesOf(
  folder: number,
  prefix: string,
  wanted: (name: string) => boolean,
  isRemote: IsRemote,
): { found: Entries } | Unreadable {
  const entries: HomeEntry[] = [];
  let seen = 0;
  let cut: Unreadable | undefined;
  try {
    const open = openEntries(folder);
    try {
      for (let entry = open.readSync(); entry !== null; entry = open.readSync()) {
        if (++seen > MAX_ENTRIES * 10 || entries.length >= MAX_ENTRIES) return { found: { entries, cut: TOO_MANY } };
        const name = textOf(entry.name);
        if (!wanted(name)) continue;
        const path = join(prefix, name);
        if (isRemote(path)) {
          cut = REMOTE;
          continue;
        }
        const stats = lstatSync(placeIn(folder, entry.name), { throwIfNoEntry: false });
        if (stats !== undefined) entries.push({ path, stats });
      }
      return { found: { entries, cut } };
    } finally {
      open.closeSync();
    }
  } catch (error) {
    const why = whyNot(error, prefix === '' ? 'a home' : prefix);
    return 'unreadable' in why ? why : { unreadable: 'it was removed during the scan', denied: false };
  }
}
