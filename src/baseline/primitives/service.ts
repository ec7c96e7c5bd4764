import * as v from 'valibot';
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
    v.pipe(text, v.regex(/^[A-Za-z0-9@:._\\-]+\.(?:service|socket|timer|target|path|mount)$/, 'is no unit')),
  ),
  want: v.picklist(WANTS),
  /** Names of programs as /proc/PID/comm has them. */
  processes: v.optional(listOf(v.pipe(text, v.maxLength(15)))),
  /** Names in inetd.conf. */
  inetd: v.optional(listOf(text)),
});
type Params = v.InferOutput<typeof params>;

/** What is started at boot, by systemd's links, SysV's and OpenRC's runlevels or inetd; and what runs, by its name. */
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
    // What was seen is enough to say that something is started, and not that nothing is.
    if (enabled.length === 0 && units.unreadable !== undefined) return cannotRead(units.unreadable, '/etc');
    const running = await whatRuns(of, system);
    switch (of.want) {
      case 'disabled':
        return judgeOff(of, enabled, running, system);
      case 'masked': {
        const open = states.find(({ masked, known }) => known && !masked);
        return open === undefined ? pass('masked, or not there') : fail('not masked', open.where ?? open.unit);
      }
      case 'enabled':
      case 'anyEnabled':
      case 'enabledAndActive': {
        const [first] = enabled;
        if (first === undefined) return fail(states.some(({ known }) => known) ? 'not started at boot' : 'not there');
        const mustRun = of.want === 'enabledAndActive' && system.runs;
        if (mustRun && running.length === 0) return fail('started at boot, but not running', first.where);
        return pass(`${first.unit} is started at boot`, first.where);
      }
      case 'anyActive':
        if (!system.runs) return judgeTree(enabled);
        return running.length > 0 ? pass(`running: ${listed(running)}`) : fail('none is running');
      case 'atMostOneActive':
        if (!system.runs)
          return passIf(enabled.length < 2, `started at boot: ${listed(enabled.map(({ unit }) => unit))}`);
        return passIf(running.length < 2, running.length === 0 ? 'none is running' : `running: ${listed(running)}`);
    }
  },
});

/** Nothing runs in a tree: what will be started stands for it. */
function judgeTree(enabled: readonly (UnitState & { unit: string })[]): Verdict {
  const [first] = enabled;
  return first === undefined
    ? skip('nothing runs in this tree, and whether it would can’t be told by links alone')
    : pass(`${first.unit} is started at boot`, first.where);
}

async function judgeOff(
  of: Params,
  enabled: readonly (UnitState & { unit: string })[],
  running: readonly string[],
  system: System,
): Promise<Verdict> {
  const [first] = enabled;
  if (first !== undefined) return fail(`${first.unit} is started at boot`, first.where);
  const units = await system.units();
  for (const name of of.inetd ?? []) {
    const where = units.inetd(name);
    if (where !== undefined) return fail(`inetd starts ${name}`, where);
  }
  return running.length > 0 ? fail(`running: ${listed(running)}`) : pass('off');
}

/** Names of programs that run, and units whose control group systemd has made. */
async function whatRuns({ units, processes = [] }: Params, system: System): Promise<string[]> {
  if (!system.runs) return [];
  const names = await system.processes();
  const byName = processes.filter((name) => names.has(name));
  if (processes.length > 0) return byName;
  return units.filter((unit) => GROUPS.some((group) => system.files.exists(`${group}/${unit}`)));
}

/** Where systemd has the control groups of services: unified, and of a time before that. */
const GROUPS = ['/sys/fs/cgroup/system.slice', '/sys/fs/cgroup/systemd/system.slice'];
