import { closeSync, constants, fstatSync, lstatSync, opendirSync, openSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { type Look, whyNot } from '../host-files.ts';
import type { System } from '../system.ts';
import type { User } from './accounts.ts';

/** Something in a user's home, not looked through when it is a link. */
export interface HomeEntry {
  /** Below the home: `.ssh/authorized_keys`. */
  readonly path: string;
  readonly stats: Stats;
}

/** A home as it was when it was opened. */
export interface Home {
  readonly user: User;
  readonly stats: Look<Stats>;
  /** Dot files, one level deep, and what is in `.ssh`; 200 at most of each. */
  readonly entries: readonly HomeEntry[];
  /** There were more. */
  readonly cut: boolean;
}

/** Homes that are looked at. With more, the rules say that they saw only these. */
export const MOST_HOMES = 1_000;
const MOST_ENTRIES = 200;
const OPEN_FOLDER = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/**
 * The homes of users who can log in. They are their users', who may change them while they are looked at: a folder is
 * opened once, without following a link, and everything is asked of what was opened (by /proc/self/fd), never of the name
 * again. Nothing in there is opened but the folder `.ssh`.
 */
export async function readHomes(users: readonly User[], system: System): Promise<readonly Home[]> {
  const homes: Home[] = [];
  for (const user of users.slice(0, MOST_HOMES)) {
    homes.push(readHome(user, system));
    await system.pace();
  }
  return homes;
}

function readHome(user: User, system: System): Home {
  const stats = system.files.stat(user.home);
  if (!('found' in stats) || !stats.found.isDirectory()) return { user, stats, entries: [], cut: false };
  let folder: number;
  try {
    folder = openSync(system.files.real(user.home), OPEN_FOLDER);
  } catch (error) {
    return { user, stats: whyNot(error, user.home), entries: [], cut: false };
  }
  try {
    const opened = { found: fstatSync(folder) };
    const dots = entriesOf(folder, '', (name) => name.startsWith('.'));
    if (!('found' in dots)) return { user, stats: dots.denied ? dots : opened, entries: [], cut: false };
    const ssh = dots.found.entries.some(({ path, stats: of }) => path === '.ssh' && of.isDirectory())
      ? sshEntries(folder)
      : [];
    return { user, stats: opened, entries: [...dots.found.entries, ...ssh], cut: dots.found.cut };
  } finally {
    closeSync(folder);
  }
}

function sshEntries(home: number): readonly HomeEntry[] {
  let folder: number;
  try {
    folder = openSync(`/proc/self/fd/${home}/.ssh`, OPEN_FOLDER);
  } catch {
    return []; // not to be looked into, or no folder any more
  }
  try {
    const look = entriesOf(folder, '.ssh', () => true);
    return 'found' in look ? look.found.entries : [];
  } finally {
    closeSync(folder);
  }
}

function entriesOf(folder: number, prefix: string, wanted: (name: string) => boolean) {
  const place = `/proc/self/fd/${folder}`;
  const entries: HomeEntry[] = [];
  let seen = 0;
  try {
    const open = opendirSync(place);
    try {
      for (let entry = open.readSync(); entry !== null; entry = open.readSync()) {
        if (++seen > MOST_ENTRIES * 10 || entries.length >= MOST_ENTRIES) return { found: { entries, cut: true } };
        if (!wanted(entry.name)) continue;
        const stats = lstatSync(join(place, entry.name), { throwIfNoEntry: false });
        if (stats !== undefined) entries.push({ path: join(prefix, entry.name), stats });
      }
      return { found: { entries, cut: false } };
    } finally {
      open.closeSync();
    }
  } catch (error) {
    const why = whyNot(error, prefix === '' ? 'a home' : prefix);
    return 'unreadable' in why ? why : { unreadable: 'it has just been removed', denied: false };
  }
}
