import * as v from 'valibot';
import type { Unreadable } from '../../host/host-files.ts';
import { isProven } from '../facts/processes.ts';
import type { UnitState } from '../facts/units.ts';
import { listOf, text } from '../fields.ts';
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
  /** Names of programs as /proc/PID/comm has them. */
  processes: v.optional(listOf(v.pipe(text, v.maxLength(15)))),
  /** Names in inetd.conf. */
  inetd: v.optional(listOf(text)),
});
type Params = v.InferOutput<typeof params>;

/**
 * What is started at boot, by systemd's links, SysV's and OpenRC's runlevels or inetd; and what runs. Whatever is called by
 * a name counts where it must not run; where it must, it has to be proven, since a name proves nothing.
 */
export const service = primitive({
  name: 'service',
  summary: 'What is started at boot (links to units, runlevels, inetd), and which programs run.',
  params,
  expected: ({ units, want }) => `${units.join(', ')}: ${IN_WORDS[want]}`,

  remedy({ units, want }) {
    const [first = ''] = units;
    if (want === 'disabled') return `systemctl disable --now ${units.join(' ')}, or remove the package.`;
    if (want === 'masked') return `systemctl mask ${units.join(' ')}.`;
    if (want === 'atMostOneActive') return 'Keep one of them, and disable the others.';
    return `systemctl enable --now ${first}${units.length > 1 ? ', or one of the others' : ''}.`;
  },

  async judge(of, system) {
    const units = await system.units();
    const states = of.units.map((unit) => ({ unit, ...units.state(unit) }));
    const enabled = states.filter((state) => state.enabled);
    // An enabled unit is a result even if others could not be read; finding none is not.
    if (enabled.length === 0 && units.unreadable !== undefined) return cannotRead(units.unreadable, '/etc');
    switch (of.want) {
      case 'disabled':
        return judgeOff(of, enabled, system);
      case 'masked': {
        const open = states.find(({ masked, known }) => known && !masked);
        return open === undefined ? pass('masked, or not installed') : fail('not masked', open.where ?? open.unit);
      }
      case 'enabled':
      case 'anyEnabled':
      case 'enabledAndActive': {
        const [first] = enabled;
        if (first === undefined)
          return fail(states.some(({ known }) => known) ? 'not started at boot' : 'not installed');
        if (of.want === 'enabledAndActive' && system.runs) {
          const { proven, why } = await whatRuns(of, system);
          if (proven.length === 0) return why.err ?? fail(`started at boot, but not running${why.words}`, first.where);
        }
        return pass(`${first.unit} is started at boot`, first.where);
      }
      case 'anyActive': {
        if (!system.runs) return judgeTree(enabled);
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

/** Nothing runs in a tree: what will be started stands for it. */
function judgeTree(enabled: readonly (UnitState & { unit: string })[]): Verdict {
  const [first] = enabled;
  return first === undefined
    ? skip('nothing runs in this tree, and links alone do not show whether it would')
    : pass(`${first.unit} is started at boot`, first.where);
}

async function judgeOff(
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
  // A name is enough to say that it may run.
  const { byName, unreadable } = await system.processes();
  const { processes = [] } = of;
  const active = activeUnits(of, system);
  const running = [...processes.filter((name) => byName.has(name)), ...active.units];
  if (running.length > 0) return fail(`running: ${listed(running)}`);
  if (processes.length > 0 && unreadable !== undefined) return cannotRead(unreadable, '/proc');
  return active.unreadable === undefined ? pass('off') : cannotRead(active.unreadable, '/sys/fs/cgroup');
}

interface Running {
  /** Names of programs, and units without any: it is known that they run, whatever a process calls itself. */
  readonly proven: readonly string[];
  /** When there are none: why nobody can say so, or what only calls itself by such a name. */
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
  // Without all processes, that there are some in a unit's group has to do; not where people's programs run in there.
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

/** A program counts once, whether it was seen by itself or by its unit. */
function distinct(proven: readonly string[], { processes = [] }: Params): string[] {
  const names = new Set(proven.filter((each) => processes.includes(each)));
  const units = proven.filter((each) => !processes.includes(each));
  return names.size >= units.length ? [...names] : units;
}

/**
 * Units whose control group systemd has made; of those whose programs are named, services with processes in it. No user
 * can make a group there.
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
  const active = units.filter((unit) => GROUPS.some((group) => isActive(group, unit)));
  return unreadable === undefined ? { units: active } : { units: active, unreadable };
}

interface ActiveUnits {
  readonly units: string[];
  /** Why there may be others. */
  readonly unreadable?: Unreadable;
}

/** Services in whose control groups people's programs may be, and stay when the service has ended. */
const RUNS_OTHERS = /^(?:cron|crond|cronie|anacron|atd|ssh|sshd|dropbear)(?:@.*)?\.service$/;

/** Where systemd has the control groups of services: unified, hybrid, and of a time before that. */
const GROUPS = [
  '/sys/fs/cgroup/system.slice',
  '/sys/fs/cgroup/unified/system.slice',
  '/sys/fs/cgroup/systemd/system.slice',
];
