import { posix } from 'node:path';
import { bits, octal } from '../fields.ts';
import { spaceSetting } from '../syntax/settings.ts';
import type { System } from '../system.ts';
import { cannotRead, fail, pass, type Verdict } from '../verdict.ts';

/** Files that set root's PATH: a shell's start-up files by `PATH=`, login.defs(5) by ENV_SUPATH. */
const SHELL_FILES = ['/etc/environment', '/etc/profile', '/root/.profile', '/root/.bash_profile', '/root/.bashrc'];
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

const STICKY = 0o1000;

/**
 * Evaluates each folder in root's PATH, and those above it: root may start a program that another user has put into such a
 * folder.
 */
export async function evaluateRootPath(modeForbid: string, system: System): Promise<Verdict> {
  const settings: { value: string; where: string }[] = [];
  const defs = system.files.text('/etc/login.defs');
  if ('unreadable' in defs) return cannotRead(defs, '/etc/login.defs');
  const set = 'found' in defs ? spaceSetting(defs.found, 'ENV_SUPATH') : undefined;
  if (set !== undefined)
    settings.push({ value: set.value.replace(/^PATH=/, ''), where: `/etc/login.defs:${set.line}` });
  for (const file of SHELL_FILES) {
    const { paths, unreadable } = await system.expand(file);
    if (unreadable !== undefined) return cannotRead(unreadable, file);
    const [path = file] = paths;
    const look = system.files.text(path);
    if ('unreadable' in look) return cannotRead(look, path);
    for (const [index, line] of ('found' in look ? look.found.split('\n') : []).entries()) {
      const value = /^\s*(?:export\s+)?PATH=["']?([^"'\s;#]*)/.exec(line.slice(0, 4_096))?.[1];
      if (value !== undefined) settings.push({ value, where: `${path}:${index + 1}` });
    }
  }
  if (settings.length === 0) settings.push({ value: DEFAULT_PATH, where: 'the default' });
  for (const { value, where } of settings) {
    for (const part of value.split(':')) {
      if (part.includes('$')) continue; // the previous PATH, or a variable that only the shell knows
      if (!part.startsWith('/')) return fail(part === '' ? 'an empty part' : `${part} is not absolute`, where);
      const verdict = evaluateFolder(part, { forbidden: bits(modeForbid), where }, system);
      if (verdict !== undefined) return verdict;
    }
    await system.pace();
  }
  return pass('none');
}

/**
 * Includes the folders above: a user who can write to one can replace the folder below it, or create it if it is missing.
 * In a sticky folder only the owner can replace an entry.
 *
 * @returns `undefined` if all is well
 */
function evaluateFolder(
  folder: string,
  { forbidden, where }: { forbidden: number; where: string },
  { files }: System,
): Verdict | undefined {
  let exists = false;
  for (let path = posix.normalize(folder); ; path = posix.dirname(path)) {
    const look = files.stat(path);
    if ('unreadable' in look) return cannotRead(look, path);
    if ('found' in look) {
      const { uid, gid, mode } = look.found;
      if (uid !== 0) return fail(`${path} belongs to user ${uid}`, where);
      const isSafe = exists && ((mode & STICKY) !== 0 || isOnlyOfRootGroup(mode & forbidden, gid));
      if ((mode & forbidden) !== 0 && !isSafe) return fail(`${path} has ${octal(mode)}`, where);
      exists = true;
    }
    if (path === '/') return undefined;
  }
}

const isOnlyOfRootGroup = (bit: number, gid: number) => bit === 0o020 && gid === 0;
