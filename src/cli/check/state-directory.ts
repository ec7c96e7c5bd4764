import { accessSync, constants, existsSync, lstatSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { errnoOf, messageOf } from '../../base/errors.ts';
import { shellWord } from '../../base/shell-word.ts';
import { type Finding, note, ok, wrong } from './finding.ts';
import { octal, othersCanWrite } from './modes.ts';
import { namesBelow, processOf, userOf } from './process.ts';
import type { Check } from './situation.ts';

const NAME = 'state directory';

export const stateDirectory: Check = {
  name: NAME,
  run({ local: { stateDirectory: directory }, agent }) {
    const existing = existingPart(directory);
    const found = statSync(existing);
    if (!found.isDirectory()) {
      return [wrong(NAME, `${existing} is no directory`, 'Set stateDirectory to another path.')];
    }
    if (existing === directory && othersCanWrite(found)) {
      const what = `others can write to ${directory} (mode ${octal(found.mode)})`;
      return [wrong(NAME, what, `Take that from them: chmod go-w ${shellWord(directory)}`)];
    }
    try {
      accessSync(existing, constants.W_OK | constants.X_OK);
    } catch (error) {
      return [
        wrong(NAME, `${existing} is not writable: ${errnoOf(error) ?? messageOf(error)}`, remedyOf(error, directory)),
      ];
    }
    if (existing !== directory) return [ok(NAME, `${directory} will be made`)];
    const user = agent.status === undefined ? found.uid : userOf(processOf(agent));
    const amiss = [...strangers(directory, user), ...exposed(directory)];
    return amiss.length > 0 ? amiss : [ok(NAME, `${directory} is writable, and nobody else's`)];
  },
};

/** The path itself, or what there is of it. */
export function existingPart(path: string): string {
  let existing = path;
  while (!existsSync(existing)) existing = dirname(existing);
  return existing;
}

const remedyOf = (error: unknown, directory: string): string =>
  errnoOf(error) === 'EROFS'
    ? `Mount what ${directory} lies on for writing, or set stateDirectory to a place that is.`
    : `Make ${directory} writable for the user that the agent runs as.`;

/**
 * What an agent left that once ran as another user, mostly root: the one that runs now can't write there. Without one
 * that runs, the folder's owner is taken for its user.
 */
function strangers(directory: string, user: number | undefined): Finding[] {
  if (user === undefined || user === 0) return [];
  const theirs = files(directory).filter(({ uid }) => uid !== user);
  const [first] = theirs;
  if (first === undefined) return [];
  const what = `${theirs.length} files in ${directory} are not user ${user}'s, for instance ${first.path} (user ${first.uid})`;
  return [wrong(NAME, what, `Run: chown -R ${user} ${shellWord(directory)}`)];
}

function exposed(directory: string): Finding[] {
  const open = files(directory).filter(({ mode }) => (mode & 0o077) !== 0);
  const [first] = open;
  if (first === undefined) return [];
  const what = `others can get at ${open.length} files in ${directory}, for instance ${first.path} (mode ${octal(first.mode)})`;
  return [note(NAME, what, `Queued events say what the device does: chmod -R go-rwx ${shellWord(directory)}`)];
}

const files = (directory: string) =>
  namesBelow(directory).flatMap((name) => {
    const path = join(directory, name);
    const stats = lstatSync(path, { throwIfNoEntry: false });
    if (stats === undefined || stats.isSocket()) return [];
    return [{ path, uid: stats.uid, mode: stats.isSymbolicLink() ? 0 : stats.mode }];
  });
