import { posix } from 'node:path';
import { bits, octal } from '../fields.ts';
import { spaceSetting } from '../syntax/settings.ts';
import type { System } from '../system.ts';
import { cannotRead, fail, pass, type Verdict } from '../verdict.ts';

/** Files that set root's PATH: a shell's start-up files by `PATH=`, login.defs(5) by ENV_SUPATH. */
const SHELL_FILES = ['/etc/environment', '/etc/profile', '/root/.profile', '/root/.bash_profile', '/root/.bashrc'];
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Judges each folder in root's PATH: root may start a program that another user has put into such a folder. */
export async function judgeRootPath(modeForbid: string, system: System): Promise<Verdict> {
  const settings: { value: string; where: string }[] = [];
  const defs = system.files.text('/etc/login.defs');
  if ('unreadable' in defs) return cannotRead(defs, '/etc/login.defs');
  const set = 'found' in defs ? spaceSetting(defs.found, 'ENV_SUPATH') : undefined;
  if (set !== undefined)
    settings.push({ value: set.value.replace(/^PATH=/, ''), where: `/etc/login.defs:${set.line}` });
  for (const path of SHELL_FILES) {
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
      // Also the folders above it: who may write to the parent of a missing folder can create it.
      for (let path = posix.normalize(part); ; path = posix.dirname(path)) {
        const look = system.files.stat(path);
        if ('unreadable' in look) return cannotRead(look, path);
        if ('found' in look && look.found.uid !== 0) return fail(`${path} belongs to user ${look.found.uid}`, where);
        if ('found' in look && (look.found.mode & bits(modeForbid)) !== 0)
          return fail(`${path} has ${octal(look.found.mode)}`, where);
        if ('found' in look || path === '/') break;
      }
    }
    await system.pace();
  }
  return pass('none');
}
