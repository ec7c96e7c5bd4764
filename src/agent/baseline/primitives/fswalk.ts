import * as v from 'valibot';
import { FINDS } from '../facts/walk.ts';
import { paths } from '../fields.ts';
import { primitive } from '../primitive.ts';
import { cannotEvaluate, cannotRead, fail, listed, pass, skip } from '../verdict.ts';

const IN_WORDS: Readonly<Record<(typeof FINDS)[number], readonly [what: string, remedy: string]>> = {
  worldWritableFiles: ['file that anyone may write', 'chmod o-w FILE.'],
  worldWritableFoldersWithoutSticky: [
    'folder in which anyone may remove the files of others',
    'chmod +t FOLDER, or chmod o-w FOLDER.',
  ],
  unownedFiles: ['file of a user that does not exist', 'chown root FILE, or remove it.'],
  ungroupedFiles: ['file of a group that does not exist', 'chgrp root FILE, or remove it.'],
  setIdFiles: [
    'set-id program that is not known to need it',
    'chmod ug-s FILE, or except the rule where the program is wanted.',
  ],
  filesWithCapabilities: [
    'program with capabilities that is not known to need them',
    'setcap -r FILE, or except the rule where the program is wanted.',
  ],
};

/** Files anywhere. One walk serves all rules that need it, and is made only if walks are requested. */
export const fswalk = primitive({
  name: 'fswalk',
  summary: 'All files of the local file systems, in one walk that is off by default.',
  params: v.strictObject({
    find: v.picklist(FINDS),
    /** Files excepted from the rule. */
    allow: v.optional(paths),
  }),
  expected: ({ find }) => `no ${IN_WORDS[find][0]}`,
  remedy: ({ find }) => IN_WORDS[find][1],

  async evaluate({ find, allow = [] }, system) {
    if (find === 'filesWithCapabilities' && system.fileCapabilities() === undefined)
      return skip('file capabilities can’t be read without the native module koffi');
    const { users, groups } = await system.accounts();
    const [names, file] = find === 'ungroupedFiles' ? [groups, '/etc/group'] : [users, '/etc/passwd'];
    // Without the accounts, every file would count as unowned.
    if ((find === 'unownedFiles' || find === 'ungroupedFiles') && 'unreadable' in names) return cannotRead(names, file);
    const { found, entries, incomplete, denied } = await system.walk();
    const wrong = found[find].filter((path) => !allow.includes(path));
    const [first] = wrong;
    if (first !== undefined) return fail(listed(wrong), first);
    if (incomplete !== undefined) return { ...cannotEvaluate(`of ${entries} files none; ${incomplete}`), denied };
    return pass(`none of ${entries} files`);
  },
});
