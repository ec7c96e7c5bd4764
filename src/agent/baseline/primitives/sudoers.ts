import * as v from 'valibot';
import { compilePattern } from '../../pattern/pattern.ts';
import { isAtLeast, versionOf } from '../facts/packages.ts';
import { MAIN } from '../facts/sudoers.ts';
import { ifMissing, pattern } from '../fields.ts';
import { primitive } from '../primitive.ts';
import { cannotEvaluate, cannotRead, fail, missing, pass, passIf } from '../verdict.ts';

/** What sudo is configured to do. Reports the place, never the text. */
export const sudoers = primitive({
  name: 'sudoers',
  summary: 'Whether lines of /etc/sudoers, and of all files that it includes, match a pattern.',
  params: v.strictObject({
    /** A line must match. */
    some: v.optional(pattern),
    /** The first version of sudo that needs no such line. */
    notNeededSince: v.optional(v.pipe(v.string(), v.regex(/^\d{1,2}(?:\.\d{1,2}){1,2}$/))),
    /** No line may match. */
    none: v.optional(pattern),
    ifMissing,
  }),

  expected({ some, notNeededSince, none }) {
    const unless = notNeededSince === undefined ? '' : `, or sudo is ${notNeededSince} or later`;
    const parts = [some && `a line of sudoers matches ${some}${unless}`, none && `no line of sudoers matches ${none}`];
    return parts.filter((part) => part !== undefined).join('; ') || 'sudoers can be read';
  },

  remedy({ some, none }) {
    const parts = [
      none && 'remove the lines that match the pattern that none may match from /etc/sudoers and the files it includes',
      some && 'add a line that matches the other pattern',
    ];
    return `With visudo, ${parts.filter((part) => part !== undefined).join(', and ')}.`;
  },

  async evaluate({ some, notNeededSince, none, ifMissing }, system) {
    const { lines, exists, unreadable } = await system.sudoers();
    const first = (pattern: string | undefined) => {
      const compiled = pattern === undefined ? undefined : compilePattern(pattern);
      return lines.find(({ text }) => compiled !== undefined && 'matches' in compiled && compiled.matches(text));
    };
    const wrong = first(none);
    if (wrong !== undefined) return fail('found', wrong.where);
    if (unreadable !== undefined) return cannotRead(unreadable, MAIN);
    if (!exists) return missing(ifMissing, MAIN);
    if (some === undefined) return pass();
    const right = first(some);
    if (right !== undefined) return pass('found', right.where);
    if (notNeededSince === undefined) return fail('not found', MAIN);
    const version = versionOf(['sudo', 'sudo-ldap'], await system.packages());
    const isDefault = isAtLeast(version, notNeededSince);
    if (isDefault === undefined) return cannotEvaluate('not found, and the version of sudo is not known', MAIN);
    return passIf(isDefault, `not found, and sudo is ${version}`, MAIN);
  },
});
