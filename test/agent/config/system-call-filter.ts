import { spawnSync } from 'node:child_process';

/** A rule of test/system/native/under-filter.c: `allow NAME` or `errno NAME ERRNO`, perhaps with a condition on one argument. */
export type Rule = string;

/**
 * Calls allowed by a unit's `SystemCallFilter=` lines, as systemd reads them (systemd.exec): the first line lists
 * allowed calls, including `@default`; each further line adds calls or, after `~`, removes them.
 */
export function allowedByUnit(unit: string): Set<string> {
  const allowed = new Set<string>(callsOf('@default'));
  const [first = '', ...others] = [...unit.matchAll(/^SystemCallFilter=(.*)$/gm)].map(([, value = '']) => value);
  if (first.startsWith('~')) throw new Error('the first SystemCallFilter= must be a list of what is allowed');
  for (const line of [first, ...others]) {
    const calls = line.replace('~', '').split(' ').flatMap(callsOf);
    for (const call of calls) line.startsWith('~') ? allowed.delete(call) : allowed.add(call);
  }
  return allowed;
}

/** Returns the calls allowed by the lines of the unit and its other settings that systemd turns into filters. */
export function rulesOfUnit(unit: string, errno: number): Rule[] {
  const families = /^RestrictAddressFamilies=(.*)$/m.exec(unit)?.[1]?.split(' ') ?? [];
  const allowed = [...allowedByUnit(unit)].filter((call) => !RESTRICTED.includes(call));
  const isRestricted = /^RestrictNamespaces=yes$/m.test(unit);
  return [
    `default ${errno}`,
    ...allowed.map((call) => `allow ${call}`),
    ...families.map((family) => `allow socket 0 eq ${FAMILIES[family]}`),
    isRestricted ? `allow clone 0 masked 0 ${NAMESPACES}` : 'allow clone',
    isRestricted ? 'errno clone3 38' : 'allow clone3',
  ];
}

const RESTRICTED = ['socket', 'clone', 'clone3'];
const FAMILIES: Readonly<Record<string, number>> = { AF_UNIX: 1, AF_INET: 2, AF_INET6: 10, AF_NETLINK: 16 };
/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET. */
export const NAMESPACES = 0x7e020000;

/** Returns the calls allowed by a profile for container engines (config/seccomp.json). */
export interface Profile {
  readonly defaultAction: string;
  readonly defaultErrnoRet: number;
  readonly archMap: readonly { readonly architecture: string; readonly subArchitectures: readonly string[] }[];
  readonly syscalls: readonly {
    readonly names: readonly string[];
    readonly action: string;
    readonly errnoRet?: number;
    readonly args?: readonly { index: number; value: number; valueTwo?: number; op: string }[];
  }[];
}

/** @param errno for what the profile refuses, so that a test can tell the filter's refusal from the kernel's */
export function rulesOfProfile(profile: Profile, errno: number): Rule[] {
  const rules = profile.syscalls.flatMap(({ names, action, errnoRet, args = [] }) =>
    names.map((name) => {
      if (action !== 'SCMP_ACT_ALLOW') return `errno ${name} ${name === 'clone3' ? errnoRet : errno}`;
      const [condition, ...more] = args;
      if (more.length > 0) throw new Error('conditions on more than one argument are not read here');
      if (condition === undefined) return `allow ${name}`;
      const { index, op, value, valueTwo = 0 } = condition;
      return op === 'SCMP_CMP_MASKED_EQ'
        ? `allow ${name} ${index} masked ${valueTwo} ${value}`
        : `allow ${name} ${index} eq ${value}`;
    }),
  );
  return [`default ${errno}`, ...rules];
}

const sets = new Map<string, string[]>();

/** A call, or the calls of a set such as `@system-service`. */
function callsOf(name: string): string[] {
  if (!name.startsWith('@')) return name === '' ? [] : [name];
  const known = sets.get(name);
  if (known !== undefined) return known;
  const { status, stdout } = spawnSync('systemd-analyze', ['syscall-filter', '--no-pager', name], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`systemd-analyze knows no ${name}`);
  const lines = stdout.split('\n').slice(1);
  const calls = lines
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .flatMap(callsOf);
  sets.set(name, calls);
  return calls;
}
