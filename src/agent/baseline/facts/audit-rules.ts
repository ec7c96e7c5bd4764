import type { Unreadable } from '../../host/host-files.ts';
import type { Access } from '../access.ts';

/** The part of `Access` that is needed here. */
type Needs = Pick<Access, 'files' | 'pace'>;

/** A rule as audit.rules(7) writes it. */
export interface AuditRule {
  readonly where: string;
  /** What it is limited to. */
  readonly path?: string;
  /** Whether `path`, if it is a folder, stands for all below it, too: `-w` and `-F dir=`, but not `-F path=`. */
  readonly isTree: boolean;
  readonly permissions: string;
  readonly syscalls: ReadonlySet<string>;
  /** `-S all`, and no `-F perm=` that leaves out some. */
  readonly isForAllCalls: boolean;
  /** All other words: `-F arch=b64`, `-C uid!=euid`, as they are written. */
  readonly fields: readonly string[];
}

export interface AuditRules {
  readonly rules: readonly AuditRule[];
  /** File and line of flags such as `-e 2`. */
  readonly flags: ReadonlyMap<string, string>;
  /** File and line of a rule that keeps the kernel from auditing tasks at all, or their system calls: `-a never,task`. */
  readonly off?: string;
  readonly unreadable?: Unreadable;
}

const MAX_RULES = 10_000;

/** The rules loaded at boot. Reads files only: listing the kernel's rules needs the audit socket. */
export async function readAuditRules(access: Needs): Promise<AuditRules> {
  const rules: AuditRule[] = [];
  const flags = new Map<string, string>();
  let off: string | undefined;
  let problem: Unreadable | undefined;
  const folder = access.files.expand('/etc/audit/rules.d/*.rules');
  problem ??= folder.unreadable;
  for (const path of [...folder.paths, '/etc/audit/audit.rules']) {
    const look = access.files.text(path);
    await access.pace();
    if ('unreadable' in look) problem ??= look;
    if (!('found' in look)) continue;
    for (const [index, line] of look.found.split('\n').entries()) {
      const words = line.slice(0, 4_096).trim().split(/\s+/);
      const where = `${path}:${index + 1}`;
      if (words[0] === '-e' || words[0] === '-f') flags.set(`${words[0]} ${words[1]}`, where);
      if (switchesOff(words)) off ??= where;
      const rule = parseRule(words, where);
      if (rule === undefined) continue;
      if (rules.length < MAX_RULES) rules.push(rule);
      else problem ??= { unreadable: `there are more than ${MAX_RULES} rules`, denied: false };
    }
  }
  return {
    rules,
    flags,
    ...(off === undefined ? {} : { off }),
    ...(problem === undefined ? {} : { unreadable: problem }),
  };
}

/** The action and the list of a rule, in either order: `-a always,exit`. */
const isAdded = ([option, to = '']: readonly string[], action: string, list: string): boolean =>
  (option === '-a' || option === '-A') && (to === `${action},${list}` || to === `${list},${action}`);

/** Tasks that `never,task` matches are not audited as long as they run. `never,exit` without conditions is for all of them. */
const switchesOff = (words: readonly string[]): boolean =>
  isAdded(words, 'never', 'task') || (isAdded(words, 'never', 'exit') && !/^-[SFC]$/m.test(words.join('\n')));

function parseRule(words: readonly string[], where: string): AuditRule | undefined {
  const isWatch = words[0] === '-w';
  if (!isWatch && !isAdded(words, 'always', 'exit')) return undefined;
  let isTree = isWatch;
  let path = isWatch ? words[1] : undefined;
  let permissions = 'rwxa';
  const syscalls = new Set<string>();
  let isForAllCalls = false;
  const fields: string[] = [];
  for (const [index, word] of words.entries()) {
    const value = words[index + 1] ?? '';
    if (word === '-p') permissions = value;
    if (word === '-S' && value === 'all') isForAllCalls = !words.some((each) => each.startsWith('perm='));
    else if (word === '-S') for (const name of value.split(',')) syscalls.add(name);
    if (word === '-C') fields.push(`-C ${value}`);
    if (word !== '-F') continue;
    const [, name, set = ''] = /^(path|dir|perm)=(.*)$/.exec(value) ?? [];
    if (name === 'perm') permissions = set;
    else if (name !== undefined) [path, isTree] = [set, name === 'dir'];
    else fields.push(`-F ${value}`);
  }
  const calls = { syscalls, isForAllCalls };
  return { where, isTree, permissions, ...calls, fields, ...(path === undefined ? {} : { path: trimmed(path) }) };
}

const trimmed = (path: string) => (path.length > 1 ? path.replace(/\/+$/, '') : path);
