import { accessSync, constants, existsSync, lstatSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { errnoOf, messageOf } from '../../../core/base/errors.ts';
import { danglingLink, linkFault } from '../../../core/base/paths.ts';
import { counted, shellWord } from '../../../core/base/text.ts';
import { type Finding, note, ok, wrong } from './finding.ts';
import { octal, othersCanWrite } from './modes.ts';
import { namesBelow, processOf, userOf } from './process.ts';
import type { Check } from './situation.ts';

const NAME = 'state directory';

export const stateDirectory: Check = {
  name: NAME,
  run({ local: { stateDirectory: directory }, agent }) {
    const link = danglingLink(directory);
    if (link !== undefined) return [wrong(NAME, ...linkFault(link))];
    const existing = existingPart(directory);
    const found = statSync(existing);
    if (!found.isDirectory()) {
      return [wrong(NAME, `${existing} is not a directory`, 'Set stateDirectory to another path.')];
    }
    if (existing === directory && othersCanWrite(found)) {
      const problem = `other users can write to ${directory} (mode ${octal(found.mode)})`;
      return [wrong(NAME, problem, `Run: chmod go-w ${shellWord(directory)}`)];
    }
    try {
      accessSync(existing, constants.W_OK | constants.X_OK);
    } catch (error) {
      return [
        wrong(NAME, `${existing} is not writable: ${errnoOf(error) ?? messageOf(error)}`, remedyOf(error, directory)),
      ];
    }
    if (existing !== directory) return [ok(NAME, `${directory} will be created`)];
    const user = agent.status === undefined ? found.uid : userOf(processOf(agent));
    const findings = [...foreignFiles(directory, user), ...exposed(directory)];
    return findings.length > 0 ? findings : [ok(NAME, `${directory} is writable, and private to the agent`)];
  },
};

/** The path itself, or its nearest parent that exists. */
export function existingPart(path: string): string {
  let existing = path;
  while (!existsSync(existing)) existing = dirname(existing);
  return existing;
}

const remedyOf = (error: unknown, directory: string): string =>
  errnoOf(error) === 'EROFS'
    ? `Mount the file system of ${directory} read-write, or set stateDirectory to a writable folder.`
    : `Make ${directory} writable for the user that the agent runs as.`;

/**
 * Files left by an agent that ran as another user, mostly root: the current agent can't write them. If no agent is
 * running, the folder's owner is assumed to be its user.
 */
function foreignFiles(directory: string, user: number | undefined): Finding[] {
  if (user === undefined || user === 0) return [];
  const foreign = files(directory).filter(({ uid }) => uid !== user);
  const [first] = foreign;
  if (first === undefined) return [];
  const problem = `${counted(foreign.length, 'file')} in ${directory} ${foreign.length === 1 ? 'does' : 'do'} not belong to user ${user}, for example ${first.path} (user ${first.uid})`;
  return [wrong(NAME, problem, `Run: chown -R ${user} ${shellWord(directory)}`)];
}

function exposed(directory: string): Finding[] {
  const open = files(directory).filter(({ mode }) => (mode & 0o077) !== 0);
  const [first] = open;
  if (first === undefined) return [];
  const problem = `other users can access ${counted(open.length, 'file')} in ${directory}, for example ${first.path} (mode ${octal(first.mode)}); queued events reveal what the device does`;
  return [note(NAME, problem, `Run: chmod -R go-rwx ${shellWord(directory)}`)];
}

const files = (directory: string) =>
  namesBelow(directory).flatMap((name) => {
    const path = join(directory, name);
    const stats = lstatSync(path, { throwIfNoEntry: false });
    if (stats === undefined || stats.isSocket()) return [];
    return [{ path, uid: stats.uid, mode: stats.isSymbolicLink() ? 0 : stats.mode }];
  });
