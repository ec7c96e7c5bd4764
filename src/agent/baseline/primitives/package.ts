import * as v from 'valibot';
import { matchesGlob } from '../../pattern/glob.ts';
import { listOf, text } from '../fields.ts';
import { primitive } from '../primitive.ts';
import { findProgram, whyUnseen } from '../programs.ts';
import type { System } from '../system.ts';
import { cannotRead, fail, listed, pass, skip, type Verdict } from '../verdict.ts';

const name = v.pipe(text, v.regex(/^[A-Za-z0-9*?][A-Za-z0-9+._*?-]*$/, 'is not the name of a package or program'));

const params = v.strictObject({
  /** The package's names in the distributions; `*` and `?` are wildcards. */
  names: listOf(name),
  want: v.picklist(['absent', 'anyPresent']),
  /** Programs that indicate the package if no database can be read. */
  commands: v.optional(listOf(name)),
});
type Params = v.InferOutput<typeof params>;

/** Packages installed by dpkg, opkg or apk; without a database, whether their programs exist. */
export const packages = primitive({
  name: 'package',
  summary: 'Installed packages (dpkg, opkg, apk); without a package database, whether programs exist.',
  params,
  expected: ({ names, want }) => `${want === 'absent' ? 'none of' : 'one of'} ${names.join(', ')} installed`,
  remedy: ({ names, want }) =>
    want === 'absent' ? `Remove ${names.join(', ')}.` : `Install ${names[0]}, or one like it.`,

  async evaluate(of, system) {
    const installed = await system.packages();
    if (installed === undefined) return byPrograms(of, system, 'there is no package database');
    if ('problem' in installed) {
      const { problem, manager, where } = installed;
      return manager === 'rpm' ? byPrograms(of, system, problem.unreadable) : cannotRead(problem, where);
    }
    const hits: string[] = [];
    for (const wanted of of.names) {
      if (installed.versions.has(wanted)) hits.push(wanted);
      else if (/[*?]/.test(wanted))
        for (const each of installed.versions.keys()) if (matchesGlob(wanted, each)) hits.push(each);
    }
    const actual = hits.map((hit) => `${hit} ${installed.versions.get(hit)}`.trim());
    if (of.want === 'absent') return hits.length === 0 ? pass('not installed') : fail(listed(actual), installed.where);
    if (hits.length > 0) return pass(listed(actual), installed.where);
    // A program built on the device, or a part of busybox, is not in the database.
    const program = (of.commands ?? [])
      .map((each) => findProgram(system.files, each))
      .find((path) => path !== undefined);
    return program === undefined ? fail('none installed', installed.where) : pass(program, program);
  },
});

function byPrograms({ commands, want }: Params, { files }: System, why: string): Verdict {
  if (commands === undefined) return skip(why);
  const found = commands.flatMap((each) => findProgram(files, each) ?? []);
  const unseen = found.length > 0 ? undefined : commands.map((each) => whyUnseen(files, each)).find((each) => each);
  if (unseen !== undefined) return cannotRead(unseen, 'programs');
  if (want === 'absent') return found.length === 0 ? pass(`no such program; ${why}`) : fail(listed(found), found[0]);
  return found.length === 0 ? fail(`no such program; ${why}`) : pass(listed(found), found[0]);
}
