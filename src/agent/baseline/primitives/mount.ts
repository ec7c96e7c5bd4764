import * as v from 'valibot';
import { isRemovable, type Mount } from '../facts/mounts.ts';
import { bits, ifMissing, mode, octal, path, texts } from '../fields.ts';
import { primitive } from '../primitive.ts';
import type { System } from '../system.ts';
import { cannotEvaluate, cannotRead, fail, missing, pass, passIf, skip, type Verdict } from '../verdict.ts';

const params = v.variant('of', [
  v.strictObject({
    of: v.literal('target'),
    target: path,
    /** All are required; `a|b` requires one of the two. If absent, any mount at the target passes. */
    options: v.optional(texts),
    ifNotMounted: ifMissing,
  }),
  v.strictObject({ of: v.literal('type'), types: texts, options: texts }),
  v.strictObject({ of: v.literal('removable'), options: texts }),
  v.strictObject({
    of: v.literal('absent'),
    target: path,
    /** If it is mounted, its root must have at most this mode. */ modeMax: mode,
  }),
]);
type Params = v.InferOutput<typeof params>;

/** The current mounts; in a tree that is not running, those of fstab. */
export const mount = primitive({
  name: 'mount',
  summary: 'Mount options in use, and those in fstab.',
  params,

  expected(of) {
    if (of.of === 'absent') return `${of.target} not mounted, or at most ${of.modeMax}`;
    if (of.of === 'target')
      return `${of.target} ${of.options ? `mounted with ${of.options.join(', ')}` : 'is a separate file system'}`;
    return `${of.of === 'type' ? of.types.join(', ') : 'removable disks'} mounted with ${of.options.join(', ')}`;
  },

  remedy(of) {
    if (of.of === 'absent')
      return `systemctl mask the mount unit of ${of.target}, or mount it with mode=${of.modeMax}.`;
    if (of.of === 'target' && of.options === undefined)
      return `Mount a separate file system at ${of.target} in /etc/fstab.`;
    const subject = of.of === 'target' ? of.target : of.of === 'type' ? of.types.join(', ') : 'removable disks';
    return `Add ${of.options?.map((option) => option.split('|')[0]).join(',')} to the options of ${subject} in /etc/fstab or its mount unit.`;
  },

  evaluate(of, system) {
    const mounts = system.runs ? system.mounts() : system.fstab();
    if ('unreadable' in mounts) return cannotRead(mounts, system.runs ? '/proc/1/mountinfo' : '/etc/fstab');
    if (system.runs && !('found' in mounts))
      return cannotEvaluate('the mounts are not visible to the agent', '/proc/1/mountinfo');
    const all = 'found' in mounts ? mounts.found : [];
    if (of.of === 'target') return evaluateTarget(of, all, system);
    if (of.of === 'absent') return evaluateAbsent(of, all, system);
    const fstab = system.fstab();
    const planned = 'found' in fstab ? fstab.found : [];
    const chosen: Mount[] = [];
    let unseen: Verdict | undefined;
    for (const each of [...all, ...planned]) {
      if (each.type === AUTOFS) continue;
      const is = of.of === 'type' ? of.types.includes(each.type) : isRemovable(each, system);
      if (is === true) chosen.push(each);
      else if (is !== false) unseen ??= cannotRead(is, each.device);
    }
    const wrong = chosen.find((each) => missingOptions(of.options, each).length > 0);
    if (wrong === undefined && 'unreadable' in fstab) return cannotRead(fstab, '/etc/fstab');
    if (wrong === undefined && unseen !== undefined) return unseen;
    if (wrong === undefined) return pass(chosen.length === 0 ? 'none' : `${chosen.length} mounted so`);
    return fail(`${wrong.point} without ${missingOptions(of.options, wrong).join(', ')}`, wrong.where);
  },
});

/** The placeholder of a file system until its first use, see systemd.automount(5). Its options do not matter. */
const AUTOFS = 'autofs';

function evaluateTarget(of: Extract<Params, { of: 'target' }>, all: readonly Mount[], system: System): Verdict {
  const mounted = all.find(({ point }) => point === of.target);
  if (mounted === undefined) {
    if (!system.runs) return skip(`/etc/fstab does not name ${of.target}, and nothing is mounted in a tree`);
    if (of.ifNotMounted === 'skip') return skip(`${of.target} is not a separate file system`);
    return { ...missing(of.ifNotMounted, of.target), actual: 'not a separate file system' };
  }
  if (mounted.type === AUTOFS) {
    const planned = system.fstab();
    if ('unreadable' in planned) return cannotRead(planned, '/etc/fstab');
    const own = 'found' in planned ? planned.found.filter(({ type }) => type !== AUTOFS) : [];
    if (own.some(({ point }) => point === of.target)) return evaluateTarget(of, own, system);
    return skip(`${of.target} is mounted when it is used, and /etc/fstab does not name it`);
  }
  const without = missingOptions(of.options ?? [], mounted);
  if (without.length > 0) return fail(`without ${without.join(', ')}`, mounted.where);
  return pass(`${mounted.type} ${[...mounted.options].slice(0, 8).join(',')}`, mounted.where);
}

function evaluateAbsent(of: Extract<Params, { of: 'absent' }>, all: readonly Mount[], system: System): Verdict {
  const mounted = all.find(({ point }) => point === of.target);
  if (mounted === undefined) return pass('not mounted');
  const look = system.files.stat(of.target);
  if ('unreadable' in look) return cannotRead(look, of.target);
  if (!('found' in look)) return pass('does not exist');
  return passIf((look.found.mode & 0o777 & ~bits(of.modeMax)) === 0, octal(look.found.mode), of.target);
}

const missingOptions = (options: readonly string[], { options: has }: Mount): string[] =>
  options.filter((option) => !option.split('|').some((each) => has.has(each)));
