import * as v from 'valibot';
import type { Unreadable } from '../../host/host-files.ts';
import { isProven } from '../facts/processes.ts';
import type { UnitState } from '../facts/units.ts';
import { hasFeature } from '../features.ts';
import { listOf, paths, text } from '../fields.ts';
import { primitive } from '../primitive.ts';
import type { System } from '../system.ts';
import { cannotRead, fail, listed, pass, passIf, skip, type Verdict } from '../verdict.ts';

const WANTS = [
  'disabled',
  'masked',
  'enabled',
  'enabledAndActive',
  'anyEnabled',
  'anyActive',
  'atMostOneActive',
] as const;

const IN_WORDS: Readonly<Record<(typeof WANTS)[number], string>> = {
  disabled: 'neither started at boot nor running',
  masked: 'masked',
  enabled: 'started at boot',
  enabledAndActive: 'started at boot, and running',
  anyEnabled: 'one of them is started at boot',
  anyActive: 'one of them is running',
  atMostOneActive: 'at most one of them is running',
};

const params = v.strictObject({
  units: listOf(
    v.pipe(text, v.regex(/^[A-Za-z0-9@:._\\-]+\.(?:service|socket|timer|target|path|mount)$/, 'is not a unit')),
  ),
  want: v.picklist(WANTS),
  /** Names of programs in /proc/PID/comm. */
  processes: v.optional(listOf(v.pipe(text, v.maxLength(15)))),
  /** Names in inetd.conf. */
  inetd: v.optional(listOf(text)),
  /** Scripts of cron that do the work of a unit that must be enabled. One is enough. */
  cronJobs: v.optional(paths),
});
type Params = v.InferOutput<typeof params>;

/**
 * Services started at boot, by systemd's links, SysV's and OpenRC's runlevels or inetd; and running services. If a
 * service must not run, a process with its name is enough to fail. If it must run, it has to be proven, because any
 * process can choose its name.
 */
export const service = primitive({
  name: 'service',
  summary: 'Services enabled at boot (unit links, runlevels, inetd), and running programs.',
  params,
  expected: ({ units, want, cronJobs }) =>
    `${units.join(', ')}: ${IN_WORDS[want]}${cronJobs === undefined ? '' : `, or cron has ${cronJobs.join(' or ')}`}`,

  remedy({ units, want }) {
    const [first = ''] = units;
    // A generator can start an instance at each boot even if the unit is disabled.
    if (want === 'disabled' && units.some(isInstance)) return `systemctl mask --now ${units.join(' ')}.`;
    if (want === 'disabled') return `systemctl disable --now ${units.join(' ')}, or remove the package.`;
    if (want === 'masked') return `systemctl mask ${units.join(' ')}.`;
    if (want === 'atMostOneActive') return 'Keep one of them, and disable the others.';
    return `systemctl enable --now ${first}${units.length > 1 ? ', or one of the others' : ''}.`;
  },

  async evaluate(of, system) {
    const units = await system.units();
    const states = of.units.map((unit) => ({ unit, ...units.state(unit) }));
    const enabled = states.filter((state) => state.enabled);
    // An enabled unit is a result even if others could not be read; finding none is not.
    if (enabled.length === 0 && units.unreadable !== undefined) return cannotRead(units.unreadable, '/etc');
    switch (of.want) {
      case 'disabled':
        return evaluateOff(of, enabled, system);
      case 'masked': {
        const open = states.find(({ masked, known }) => known && !masked);
        return open === undefined ? pass('masked, or not installed') : fail('not masked', open.where ?? open.unit);
      }
      case 'enabled':
      case 'anyEnabled':
      case 'enabledAndActive': {
        const [first] = enabled;
        if (first === undefined) return evaluateCronJobs(of, states, system);
        if (of.want === 'enabledAndActive' && system.runs) {
          const { proven, why } = await whatRuns(of, system);
          if (proven.length === 0) return why.err ?? fail(`started at boot, but not running${why.words}`, first.where);
        }
        return pass(`${first.unit} is started at boot`, first.where);
      }
      case 'anyActive': {
        if (!system.runs) return evaluateTree(enabled);
        const { proven, why } = await whatRuns(of, system);
        if (proven.length > 0) return pass(`running: ${listed(proven)}`);
        return why.err ?? fail(`none is running${why.words}`);
      }
      case 'atMostOneActive': {
        if (!system.runs && enabled.length < 2 && units.unreadable !== undefined)
          return cannotRead(units.unreadable, '/etc');
        if (!system.runs)
          return passIf(enabled.length < 2, `started at boot: ${listed(enabled.map(({ unit }) => unit))}`);
        const { proven, why } = await whatRuns(of, system);
        if (proven.length > 1) return fail(`running: ${listed(proven)}`);
        return why.err ?? pass(proven.length === 0 ? 'none is running' : `running: ${listed(proven)}`);
      }
    }
  },
});

/** Nothing runs in a tree, so services that would be started count as running. */
function evaluateTree(enabled: readonly (UnitState & { unit: string })[]): Verdict {
  const [first] = enabled;
  return first === undefined
    ? skip('nothing runs in this tree, and links alone do not show whether it would')
    : pass(`${first.unit} is started at boot`, first.where);
}

async function evaluateOff(
  of: Params,
  enabled: readonly (UnitState & { unit: string })[],
  system: System,
): Promise<Verdict> {
  const [first] = enabled;
  if (first !== undefined) return fail(`${first.unit} is started at boot`, first.where);
  const units = await system.units();
  for (const name of of.inetd ?? []) {
    const where = units.inetd(name);
    if (where !== undefined) return fail(`inetd starts ${name}`, where);
  }
  if (!system.runs) return pass('off');
  // A process with the name is enough: the service may be running.
  const { byName, unreadable } = await system.processes();
  const { processes = [] } = of;
  const active = activeUnits(of, system);
  const running = [...processes.filter((name) => byName.has(name)), ...active.units];
  if (running.length > 0) return fail(`running: ${listed(running)}`);
  if (processes.length > 0 && unreadable !== undefined) return cannotRead(unreadable, '/proc');
  return active.unreadable === undefined ? pass('off') : cannotRead(active.unreadable, '/sys/fs/cgroup');
}

/** Where systemd has the unit, the packages' scripts for cron leave the work to it. */
async function evaluateCronJobs(
  { cronJobs = [] }: Params,
  states: readonly UnitState[],
  system: System,
): Promise<Verdict> {
  const isKnown = states.some(({ known }) => known);
  const counted = isKnown && (await hasFeature(system, 'systemd')) ? [] : cronJobs;
  const looks = counted.map((path) => ({ path, look: system.files.stat(path) }));
  for (const { path, look } of looks)
    if ('found' in look && (look.found.mode & 0o100) !== 0) return pass('a job of cron', path);
  for (const { path, look } of looks) if ('unreadable' in look) return cannotRead(look, path);
  return fail(isKnown ? 'not started at boot' : 'not installed');
}

interface Running {
  /** Programs, and units without known programs, that are known to run, regardless of process names. */
  readonly proven: readonly string[];
  /** If none is proven: why that cannot be determined, or which process only has the name. */
  readonly why: { readonly err?: Verdict; readonly words: string };
}

async function whatRuns(of: Params, system: System): Promise<Running> {
  const { processes = [], units } = of;
  const active = activeUnits(of, system);
  if (processes.length === 0) {
    const err = active.unreadable === undefined ? {} : { err: cannotRead(active.unreadable, '/sys/fs/cgroup') };
    return { proven: active.units, why: { words: '', ...err } };
  }
  const { byName, unreadable } = await system.processes();
  // If not all processes can be read, one in a unit's group is enough, unless users' programs run in that group.
  const proven: string[] = unreadable === undefined ? [] : active.units.filter((unit) => !RUNS_OTHERS.test(unit));
  let err = unreadable === undefined ? undefined : cannotRead(unreadable, '/proc');
  let words = '';
  for (const name of processes) {
    for (const process of byName.get(name) ?? []) {
      const is = await isProven(process, units, system);
      await system.pace();
      if (is === true) {
        proven.push(name);
        break;
      }
      if (typeof is === 'string') words ||= `; process ${process.pid} is called ${name}, but ${is}`;
      else err ??= cannotRead(is, `/proc/${process.pid}`);
    }
  }
  return { proven: distinct(proven, of), why: { words, ...(err === undefined ? {} : { err }) } };
}

/** Counts a program once if it was found both as a process and by its unit. */
function distinct(proven: readonly string[], { processes = [] }: Params): string[] {
  const names = new Set(proven.filter((each) => processes.includes(each)));
  const units = proven.filter((each) => !processes.includes(each));
  return names.size >= units.length ? [...names] : units;
}

/**
 * Units with a control group made by systemd; if programs are given, only services with processes in their group. Users
 * cannot create groups there.
 */
function activeUnits({ units, processes = [] }: Params, { files, runs }: System): ActiveUnits {
  if (!runs) return { units: [] };
  let unreadable: Unreadable | undefined;
  const seen = <L extends object>(look: L): L => {
    if ('unreadable' in look) unreadable ??= look as L & Unreadable;
    return look;
  };
  const isActive = (group: string, unit: string) => {
    if (processes.length === 0) return 'found' in seen(files.stat(`${group}/${unit}`));
    if (!unit.endsWith('.service')) return false;
    const events = seen(files.text(`${group}/${unit}/cgroup.events`, 4_096));
    if ('found' in events) return /^populated 1$/m.test(events.found);
    const members = seen(files.text(`${group}/${unit}/cgroup.procs`, 64 * 1024));
    return 'found' in members && /^\d/.test(members.found);
  };
  const active = units.filter((unit) => groupsOf(unit).some((group) => isActive(group, unit)));
  return unreadable === undefined ? { units: active } : { units: active, unreadable };
}

interface ActiveUnits {
  readonly units: string[];
  /** Why the list may be incomplete. */
  readonly unreadable?: Unreadable;
}

/** Services whose cgroups can contain users' programs, even after the service has stopped. */
const RUNS_OTHERS = /^(?:cron|crond|cronie|anacron|atd|ssh|sshd|dropbear)(?:@.*)?\.service$/;

/** Folders of services' control groups: the unified, hybrid and legacy layouts of systemd. */
const GROUPS = [
  '/sys/fs/cgroup/system.slice',
  '/sys/fs/cgroup/unified/system.slice',
  '/sys/fs/cgroup/systemd/system.slice',
];

const isInstance = (unit: string): boolean => /^[^@]+@[^@]+\./.test(unit);

/** The folders that may hold the group of a unit; systemd puts the instances of a template into a slice of their own. */
function groupsOf(unit: string): readonly string[] {
  if (!isInstance(unit)) return GROUPS;
  const template = (unit.split('@')[0] ?? '').replace(/[^A-Za-z0-9:_.]/g, escaped);
  return GROUPS.flatMap((group) => [group, `${group}/system-${template}.slice`]);
}

/** As systemd-escape(1) does. */
const escaped = (char: string): string => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`;
