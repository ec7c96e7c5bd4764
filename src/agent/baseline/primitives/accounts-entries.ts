import { FIRST_ORDINARY_UID } from '../../host/account-files.ts';
import type { Look } from '../../host/host-files.ts';
import {
  type AccountFile,
  type Accounts,
  firstOrdinaryUid,
  type Group,
  hasShell,
  type Shadow,
  type User,
} from '../facts/accounts.ts';
import type { System } from '../system.ts';
import { cannotRead, fail, listed, pass, skip, type Verdict } from '../verdict.ts';
import type { EntryParams } from './accounts-params.ts';

interface Line {
  readonly line: number;
  readonly name: string;
}

/** A file's entries that violate the rule. */
type Broken = { readonly file: AccountFile; readonly lines: readonly Line[]; readonly actual?: string };

const DAY_MS = 86_400_000;

export async function evaluateEntries(of: EntryParams, system: System): Promise<Verdict> {
  const { users, groups, shadows, nis } = await system.accounts();
  const needed = filesFor(of);
  const looks: Readonly<Record<string, Look<unknown>>> = { passwd: users, group: groups, shadow: shadows };
  for (const name of needed) {
    const look = looks[name];
    if (look === undefined || 'missing' in look) return skip(`there is no /etc/${name}`);
    if ('unreadable' in look) return cannotRead(look, `/etc/${name}`);
  }
  const firstUid = of.check === 'systemAccountsNoShell' ? firstOrdinaryUid(system) : FIRST_ORDINARY_UID;
  if (typeof firstUid !== 'number') return cannotRead(firstUid, '/etc/login.defs');
  const entries = { users: listOf(users), groups: listOf(groups), shadows: listOf(shadows), nis, firstUid };
  const broken = await violations(of, entries, system);
  const [first] = broken.lines;
  if (first === undefined) return pass('none');
  // It could say that their passwords are locked.
  if (of.check === 'absentUsers' && 'unreadable' in shadows) return cannotRead(shadows, '/etc/shadow');
  return fail(broken.actual ?? listed(broken.lines.map(({ name }) => name)), `/etc/${broken.file}:${first.line}`);
}

const listOf = <T>(look: Look<readonly T[]>): readonly T[] => ('found' in look ? look.found : []);

function filesFor(of: EntryParams): readonly string[] {
  switch (of.check) {
    case 'noPlusEntries':
      return [of.file];
    case 'onlyGid0Group':
    case 'groupExists':
    case 'uniqueGid':
    case 'uniqueGroupName':
      return ['group'];
    case 'primaryGroupsExist':
    case 'groupEmpty':
      return ['passwd', 'group'];
    case 'noEmptyPassword':
    case 'noShellAccountsLocked':
    case 'inactive':
    case 'maxAge':
    case 'minAge':
      return ['passwd', 'shadow'];
    case 'rootPasswordOrLocked':
    case 'hashMethods':
    case 'lastChangePast':
      return ['shadow'];
    default:
      return ['passwd'];
  }
}

interface Entries {
  readonly users: readonly User[];
  readonly groups: readonly Group[];
  readonly shadows: readonly Shadow[];
  readonly nis: Accounts['nis'];
  /** The first uid of ordinary users. */
  readonly firstUid: number;
}

async function violations(
  of: EntryParams,
  { users, groups, shadows, nis, firstUid }: Entries,
  system: System,
): Promise<Broken> {
  const passwd = (lines: readonly Line[], actual?: string): Broken => ({
    file: 'passwd',
    lines,
    ...(actual && { actual }),
  });
  const group = (lines: readonly Line[], actual?: string): Broken => ({
    file: 'group',
    lines,
    ...(actual && { actual }),
  });
  const shadow = (lines: readonly Line[], actual?: string): Broken => ({
    file: 'shadow',
    lines,
    ...(actual && { actual }),
  });
  const withHash = () => shadows.filter(({ password }) => password === 'hash');
  switch (of.check) {
    case 'onlyUid0':
      return passwd(users.filter(({ uid, name }) => uid === 0 && !of.allow.includes(name)));
    case 'primaryGid': {
      const wrong = users.filter(({ name, gid }) => name === of.user && gid !== of.gid);
      return passwd(wrong, `gid ${wrong[0]?.gid}`);
    }
    case 'onlyGid0':
      return passwd(users.filter(({ gid, name }) => gid === 0 && !of.allow.includes(name)));
    case 'onlyGid0Group':
      return group(groups.filter(({ gid, name }) => gid === 0 && !of.allow.includes(name)));
    case 'groupExists':
      return groups.some(({ name, gid }) => name === of.group && gid === of.gid)
        ? group([])
        : group([{ line: 1, name: of.group }], 'no such group');
    case 'groupEmpty': {
      const named = groups.filter(({ name, members }) => name === of.group && members !== '');
      const gids = groups.filter(({ name }) => name === of.group).map(({ gid }) => gid);
      const primary = users.filter(({ gid }) => gids.includes(gid));
      return primary.length > 0 ? passwd(primary) : group(named, listed((named[0]?.members ?? '').split(',')));
    }
    case 'noEmptyPassword':
      return users.some(({ emptyPassword }) => emptyPassword)
        ? passwd(users.filter(({ emptyPassword }) => emptyPassword))
        : shadow(shadows.filter(({ password }) => password === 'empty'));
    case 'allShadowed':
      return passwd(users.filter(({ shadowed, emptyPassword }) => !shadowed && !emptyPassword));
    case 'rootPasswordOrLocked':
      return shadow(
        shadows.filter(({ name, password }) => name === 'root' && password === 'empty'),
        'an empty password',
      );
    case 'hashMethods':
      return methodsOf(withHash().filter(({ method }) => !of.allow.includes(method)));
    case 'uniqueUid':
      return passwd(await duplicates(users, ({ uid }) => uid, system));
    case 'uniqueUserName':
      return passwd(await duplicates(users, ({ name }) => name, system));
    case 'uniqueGid':
      return group(await duplicates(groups, ({ gid }) => gid, system));
    case 'uniqueGroupName':
      return group(await duplicates(groups, ({ name }) => name, system));
    case 'primaryGroupsExist': {
      const known = new Set(groups.map(({ gid }) => gid));
      return passwd(users.filter(({ gid }) => !known.has(gid)));
    }
    case 'noPlusEntries': {
      return { file: of.file, lines: nis[of.file].filter(({ name }) => name.startsWith('+')) };
    }
    case 'systemAccountsNoShell':
      return passwd(users.filter((user) => user.uid < firstUid && hasShell(user) && !of.except.includes(user.name)));
    case 'noShellAccountsLocked': {
      const without = new Set(users.filter((user) => !hasShell(user)).map(({ name }) => name));
      return shadow(withHash().filter(({ name }) => without.has(name) && !of.except.includes(name)));
    }
    case 'maxAge':
      return shadow(withHash().filter(({ maxDays }) => maxDays === undefined || maxDays < 0 || maxDays > of.most));
    case 'minAge':
      return shadow(withHash().filter(({ minDays }) => minDays === undefined || minDays < of.least));
    case 'inactive':
      return shadow(withHash().filter(({ inactiveDays: days }) => days === undefined || days < 0 || days > of.most));
    case 'lastChangePast': {
      const today = Math.floor(system.clock.now().getTime() / DAY_MS) + 1; // valid in each time zone
      return shadow(withHash().filter(({ changed }) => changed !== undefined && changed > today));
    }
    case 'absentUsers': {
      const locked = new Set(shadows.filter(({ password }) => password === 'locked').map(({ name }) => name));
      return passwd(users.filter((user) => of.users.includes(user.name) && hasShell(user) && !locked.has(user.name)));
    }
  }
}

/** The names of the hash methods, without salts and hashes. */
const methodsOf = (lines: readonly Shadow[]): Broken => ({
  file: 'shadow',
  lines,
  actual: listed([...new Set(lines.map(({ name, method }) => `${name}: ${method}`))]),
});

async function duplicates<T extends Line>(lines: readonly T[], key: (of: T) => unknown, system: System): Promise<T[]> {
  const seen = new Set<unknown>();
  const again: T[] = [];
  for (const [index, line] of lines.entries()) {
    const value = key(line);
    if (seen.has(value) && !/^[+-]/.test(line.name)) again.push(line);
    seen.add(value);
    if (index % 2_000 === 1_999) await system.pace();
  }
  return again;
}
