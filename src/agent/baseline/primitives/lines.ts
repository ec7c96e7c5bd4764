import * as v from 'valibot';
import { compilePattern } from '../../pattern/pattern.ts';
import { ifMissing, paths, pattern } from '../fields.ts';
import { primitive } from '../primitive.ts';
import { cannotEvaluate, cannotRead, fail, missing, pass, type Verdict } from '../verdict.ts';

const WANTS = ['some', 'none', 'someInEach'] as const;

/** Lines of named files that match a pattern. Reports the place, never the text: some of these files hold secrets. */
export const lines = primitive({
  name: 'lines',
  summary: 'Whether lines of named files match a pattern.',
  params: v.strictObject({
    files: paths,
    pattern,
    ignoreCase: v.optional(v.boolean(), false),
    want: v.picklist(WANTS),
    /** The result if none of the files exists. */
    ifMissing,
  }),

  expected({ files, want, pattern, ignoreCase }) {
    const which = { some: 'a line', none: 'no line', someInEach: 'a line of each file' }[want];
    return `${which} of ${files.join(', ')} matches ${pattern}${ignoreCase ? ', in upper or lower case' : ''}`;
  },

  remedy: ({ files, want }) =>
    want === 'none'
      ? `Remove the lines that match the pattern from ${files.join(', ')}.`
      : `Add a line that matches the expected pattern to ${want === 'someInEach' ? 'each of ' : ''}${files.join(', ')}.`,

  async evaluate(of, system) {
    const wanted = compilePattern(of.pattern, { i: of.ignoreCase });
    if ('problem' in wanted) return cannotEvaluate(wanted.problem);
    let unseen: Verdict | undefined;
    let without: string | undefined;
    let firstHit: string | undefined;
    let read = 0;
    for (const glob of of.files) {
      const { paths, unreadable } = await system.expand(glob);
      if (unreadable !== undefined) unseen ??= cannotRead(unreadable, glob);
      for (const path of paths) {
        const look = system.files.isFolder(path) ? undefined : system.files.text(path);
        await system.pace();
        if (look === undefined || 'missing' in look) continue;
        if ('unreadable' in look) {
          unseen ??= cannotRead(look, path);
          continue;
        }
        read += 1;
        const at = look.found.split('\n').findIndex((line) => wanted.matches(line));
        if (at === -1) without ??= path;
        else firstHit ??= `${path}:${at + 1}`;
        if (firstHit !== undefined && of.want === 'some') return pass('found', firstHit);
        if (firstHit !== undefined && of.want === 'none') return fail('found', firstHit);
      }
    }
    if (of.want === 'someInEach' && without !== undefined) return fail('not found', without);
    if (unseen !== undefined) return unseen;
    if (read === 0) return missing(of.ifMissing, of.files.join(', '));
    return of.want === 'some' ? fail('not found', of.files.join(', ')) : pass();
  },
});
