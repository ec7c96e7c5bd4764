import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import { type Duration, milliseconds, seconds } from '../base/duration.ts';
import { AgentError, errnoOf, messageOf } from '../base/errors.ts';
import type { Account, Lookups } from '../contract/sources.ts';
import { readBounded } from './bounded-file.ts';

/** About 80,000 accounts; a longer file isn't read at all, since half a list of accounts would be a wrong one. */
const MOST_BYTES = 4 * 1024 * 1024;
/** No kernel id: setuid(2) and friends take it for "leave as it is". */
const NO_ID = 2 ** 32 - 1;

interface PasswdEntry {
  readonly name: string;
  readonly userId: number;
  readonly primaryGroupId: number;
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
 * id may be missing, as the C library has it. The same user id can be there twice, and that is worth knowing.
 */
export function parsePasswd(text: string): PasswdEntry[] {
  const entries: PasswdEntry[] = [];
  for (const line of text.split('\n')) {
    const [name, , uid, gid] = line.split(':');
    const userId = parseId(uid);
    const primaryGroupId = parseId(gid);
    if (isName(name) && userId !== undefined && primaryGroupId !== undefined) {
      entries.push({ name, userId, primaryGroupId });
    }
  }
  return entries;
}

/** Reads group(5): `sudo:x:27:alice,bob`. Lines that are none are passed over. */
export function parseGroup(text: string): GroupEntry[] {
  const entries: GroupEntry[] = [];
  for (const line of text.split('\n')) {
    const [name, , gid, members = ''] = line.split(':');
    const id = parseId(gid);
    if (isName(name) && id !== undefined) entries.push({ name, id, members: members.split(',').map((m) => m.trim()) });
  }
  return entries;
}

/** Puts the two files together: every account with its groups, the primary one first, none twice. */
export function accountsFrom(passwd: string, group: string): Account[] {
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
  return parsePasswd(passwd).map(({ name, userId, primaryGroupId }) => {
    const ids = new Set([primaryGroupId, ...(memberships.get(name) ?? [])]);
    return {
      name,
      userId,
      primaryGroupId,
      groups: [...ids].map((id) => ({ id, name: names.get(id) ?? String(id) })),
    };
  });
}

/**
 * The accounts in the host's own files; those of directories (LDAP, systemd-homed) are not local and not in here.
 *
 * @throws AgentError when passwd can't be read; without a group file, groups have their ids as names
 */
export async function listAccounts(hostRoot: string): Promise<readonly Account[]> {
  const path = join(hostRoot, 'etc/passwd');
  try {
    return accountsFrom(readBounded(path, MOST_BYTES), groupFile(hostRoot));
  } catch (cause) {
    throw new AgentError(
      'SOURCE_UNREADABLE',
      `Local accounts can't be listed: ${messageOf(cause)}`,
      `Make ${path} readable to the agent; in a container, mount the host's root and set hostRoot.`,
      { cause },
    );
  }
}

function groupFile(hostRoot: string): string {
  try {
    return readBounded(join(hostRoot, 'etc/group'), MOST_BYTES);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return '';
    throw error;
  }
}

/** How long an answer may be out of date. */
const CHECK_EVERY = seconds(1);

/** Names of user ids, from the host's passwd file. It is read again when it changed, and looked at once per second. */
export class UserNames implements Lookups {
  readonly #path: string;
  readonly #clock: Clock;
  #names = new Map<number, string>();
  #seen = '';
  #checkAt: Duration = milliseconds(Number.NEGATIVE_INFINITY);

  constructor({ hostRoot, clock }: { hostRoot: string; clock: Clock }) {
    this.#path = join(hostRoot, 'etc/passwd');
    this.#clock = clock;
  }

  userName(userId: number): string | undefined {
    const now = this.#clock.monotonic();
    if (now >= this.#checkAt) {
      this.#checkAt = milliseconds(now + CHECK_EVERY);
      this.#refresh();
    }
    return this.#names.get(userId);
  }

  /** While the file can't be read, what was known stays known. */
  #refresh(): void {
    try {
      const { dev, ino, size, mtimeNs, ctimeNs } = statSync(this.#path, { bigint: true });
      const seen = [dev, ino, size, mtimeNs, ctimeNs].join(':');
      if (seen === this.#seen) return;
      const names = new Map<number, string>();
      for (const { userId, name } of parsePasswd(readBounded(this.#path, MOST_BYTES))) {
        if (!names.has(userId)) names.set(userId, name);
      }
      this.#names = names;
      this.#seen = seen;
    } catch {
      // Nothing to tell: an event without a user's name is still an event.
    }
  }
}
