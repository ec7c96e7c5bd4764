import type { Stats } from 'node:fs';
import * as v from 'valibot';
import { bits, ifMissing, mode, octal, paths, text, texts } from '../fields.ts';
import { primitive } from '../primitive.ts';
import type { System } from '../system.ts';
import { cannotRead, fail, listed, missing, pass, type Verdict } from '../verdict.ts';

const TYPES = ['file', 'dir', 'socket', 'any'] as const;

const params = v.variant('must', [
  v.strictObject({
    must: v.literal('exist'),
    /** One of these files is enough. */
    paths,
  }),
  v.strictObject({
    must: v.literal('not-exist'),
    paths,
    emptyOk: v.optional(v.boolean(), false),
  }),
  v.strictObject({
    must: v.literal('be'),
    /** All existing ones are evaluated. */
    paths,
    type: v.optional(v.picklist(TYPES), 'any'),
    owner: v.optional(texts),
    group: v.optional(texts),
    modeMax: v.optional(mode),
    /** By the file's group, the mode that replaces `modeMax`. */
    modeMaxForGroup: v.optional(v.record(text, mode)),
    modeForbid: v.optional(mode),
    modeRequire: v.optional(mode),
    ifMissing,
  }),
]);
type Params = v.InferOutput<typeof params>;
type Requirement = Extract<Params, { must: 'be' }>;

/** Owner, permissions, type and existence of named files. Contents are not read. */
export const file = primitive({
  name: 'file',
  summary: 'Owner, group, permission bits and type of named files, or whether they exist.',
  params,

  expected(of) {
    const where = of.paths.join(', ');
    if (of.must === 'exist') return `${where} ${of.paths.length > 1 ? '(one of them) ' : ''}exists`;
    if (of.must === 'not-exist') return `${where} does not exist${of.emptyOk ? ', or is empty' : ''}`;
    const facts = [
      of.type === 'any' ? undefined : of.type,
      of.modeMax && `at most ${of.modeMax}`,
      of.modeForbid && `no bit of ${of.modeForbid}`,
      of.modeRequire && `all bits of ${of.modeRequire}`,
      of.owner && `owner ${of.owner.join(' or ')}`,
      of.group && `group ${of.group.join(' or ')}`,
    ];
    return facts.filter((fact) => fact !== undefined).join(', ');
  },

  remedy(of) {
    const where = of.paths.join(' ');
    if (of.must === 'exist') return `Create ${of.paths[0]}.`;
    if (of.must === 'not-exist') return `Remove ${where}.`;
    const steps = [
      of.owner && `chown ${of.owner[0]}`,
      of.group && `chgrp ${of.group[0]}`,
      of.modeMax && `chmod ${of.modeMax}`,
      of.modeForbid && `clear the bits ${of.modeForbid}`,
      of.modeRequire && `set the bits ${of.modeRequire}`,
    ];
    return `For ${where}: ${steps.filter((step) => step !== undefined).join(', ')}, or less.`;
  },

  async evaluate(of, system) {
    const all: string[] = [];
    let unseen: Verdict | undefined;
    for (const pattern of of.paths) {
      const { paths: found, unreadable } = await system.expand(pattern);
      all.push(...found);
      if (unreadable !== undefined) unseen ??= cannotRead(unreadable, pattern);
    }
    if (of.must === 'be') {
      const verdict = await evaluateAll(of, all, system);
      // A violation among the readable files is a failure even if others could not be read.
      return verdict?.result === 'fail' ? verdict : (unseen ?? verdict ?? missing(of.ifMissing, of.paths.join(', ')));
    }
    for (const path of all) {
      const look = system.files.stat(path);
      if ('unreadable' in look) unseen ??= cannotRead(look, path);
      if (!('found' in look)) continue;
      if (of.must === 'exist') return pass('exists', path);
      if (!(of.emptyOk && look.found.isFile() && look.found.size === 0)) return fail('exists', path);
    }
    if (unseen !== undefined) return unseen;
    return of.must === 'exist' ? fail('does not exist', of.paths.join(', ')) : pass('does not exist');
  },
});

/** @returns `undefined` if none of the files exists */
async function evaluateAll(of: Requirement, all: readonly string[], system: System): Promise<Verdict | undefined> {
  const wrong: Verdict[] = [];
  let right: Verdict | undefined;
  let unseen: Verdict | undefined;
  for (const path of all) {
    const verdict = await evaluateOne(of, path, system);
    if (verdict?.result === 'fail') wrong.push(verdict);
    else if (verdict?.result === 'err') unseen ??= verdict;
    else right ??= verdict;
    await system.pace();
  }
  const [first] = wrong;
  if (first !== undefined && wrong.length > 1) {
    return fail(`${first.actual} (and ${wrong.length - 1} more)`, listed(wrong.flatMap(({ where }) => where ?? [])));
  }
  return first ?? unseen ?? right;
}

/** @returns `undefined` if it does not exist, or is a link to /dev/null, which means a disabled file */
async function evaluateOne(of: Requirement, path: string, system: System): Promise<Verdict | undefined> {
  if (system.files.target(path) === '/dev/null' && of.type !== 'any') return undefined;
  const link = system.files.lstat(path);
  const look = system.files.stat(path);
  if ('unreadable' in look) return cannotRead(look, path);
  if (!('found' in look) || !('found' in link)) return undefined;
  const found = look.found;
  // The owner of a link can change its target.
  if (link.found.isSymbolicLink() && link.found.uid !== 0)
    return fail(`a link that belongs to user ${link.found.uid}`, path);
  const names = await system.names();
  const owner = names.user(found.uid);
  const group = names.group(found.gid);
  const actual = `${typeOf(found)} ${octal(found.mode)} ${owner}:${group}`;
  const most = of.modeMaxForGroup?.[group] ?? of.modeMax;
  const holds =
    (of.type === 'any' || of.type === typeOf(found)) &&
    (of.owner?.includes(owner) ?? true) &&
    (of.group?.includes(group) ?? true) &&
    (most === undefined || (found.mode & 0o7777 & ~bits(most)) === 0) &&
    (of.modeForbid === undefined || (found.mode & bits(of.modeForbid)) === 0) &&
    (of.modeRequire === undefined || (found.mode & bits(of.modeRequire)) === bits(of.modeRequire));
  return holds ? pass(actual, path) : fail(actual, path);
}

function typeOf(stats: Stats): string {
  if (stats.isFile()) return 'file';
  if (stats.isDirectory()) return 'dir';
  if (stats.isSocket()) return 'socket';
  return stats.isFIFO() ? 'fifo' : 'device';
}
