import { matchesGlob } from '../../pattern/glob.ts';
import { type Home, type HomeEntry, MAX_HOMES } from '../facts/homes.ts';
import { bits, octal } from '../fields.ts';
import type { System } from '../system.ts';
import { cannotEvaluate, cannotRead, fail, listed, pass, skip, type Verdict } from '../verdict.ts';
import type { HomeParams } from './accounts-params.ts';

/** A violation of the rule in a home. */
interface Broken {
  readonly actual: string;
  readonly where: string;
}

export async function evaluateHomes(of: HomeParams, system: System): Promise<Verdict> {
  const { users } = await system.accounts();
  if ('missing' in users) return skip('there is no /etc/passwd');
  if ('unreadable' in users) return cannotRead(users, '/etc/passwd');
  const { homes, total, unreadable } = await system.homes();
  const broken = homes.flatMap((home) => violations(of, home));
  const [first] = broken;
  if (first !== undefined)
    return fail(
      `${first.actual}${broken.length > 1 ? ` (and ${broken.length - 1} more)` : ''}`,
      listed(broken.map(({ where }) => where)),
    );
  for (const { stats, user } of homes) if ('unreadable' in stats) return cannotRead(stats, user.home);
  if (unreadable !== undefined) return cannotRead(unreadable, '/etc/login.defs');
  if (total > homes.length) return cannotEvaluate(`only ${MAX_HOMES} of ${total} homes were read`);
  if (of.check !== 'homeExists' && of.check !== 'homeOwned' && of.check !== 'homeMode')
    for (const { cut, user } of homes) if (cut !== undefined) return cannotRead(cut, user.home);
  return pass(`${homes.length} homes`);
}

function violations(of: HomeParams, home: Home): Broken[] {
  const { user, stats, entries } = home;
  if ('unreadable' in stats) return [];
  if (!('found' in stats) || !stats.found.isDirectory())
    return of.check === 'homeExists' ? [{ actual: `no home of ${user.name}`, where: user.home }] : [];
  const { uid, mode } = stats.found;
  const at = (entry: HomeEntry, actual: string): Broken => ({ actual, where: `${user.home}/${entry.path}` });
  const foreign = (owner: number) => owner !== user.uid && owner !== 0;
  switch (of.check) {
    case 'homeExists':
      return [];
    case 'homeOwned':
      return uid === user.uid ? [] : [{ actual: `belongs to user ${uid}`, where: user.home }];
    case 'homeMode':
      return (mode & 0o777 & ~bits(of.modeMax)) === 0 ? [] : [{ actual: octal(mode), where: user.home }];
    case 'dotFilesMode':
      return entries
        .filter((entry) => isDotFile(entry) && (entry.stats.mode & bits(of.modeForbid)) !== 0)
        .map((entry) => at(entry, octal(entry.stats.mode)));
    case 'dotFilesOwner':
      return entries
        .filter((entry) => isDotFile(entry) && foreign(entry.stats.uid))
        .map((entry) => at(entry, `belongs to user ${entry.stats.uid}`));
    case 'homeFileAbsent':
      return entries.filter(({ path }) => path === of.name).map((entry) => at(entry, 'exists'));
    case 'homeFileMode':
      return entries
        .filter((entry) => of.paths.some((path) => matchesGlob(path, entry.path)) && !entry.stats.isSymbolicLink())
        .filter(
          ({ path, stats: { mode: has } }) => (has & bits(isPrivateKey(path) ? of.privateForbid : of.modeForbid)) !== 0,
        )
        .map((entry) => at(entry, octal(entry.stats.mode)));
  }
}

/** Skips symbolic links: their targets are checked at their own paths. */
const isDotFile = ({ path, stats }: HomeEntry) => !path.includes('/') && stats.isFile();

const isPrivateKey = (path: string) => /(?:^|\/)id_[^/]*$/.test(path) && !path.endsWith('.pub');
