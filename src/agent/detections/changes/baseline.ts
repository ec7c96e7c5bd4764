import { added, modified, removed } from './change.ts';
import type { ChangeKind } from './kind.ts';
import { allFields, pick } from './row-fields.ts';

/** Without what was found, which can differ each time. */
const NAMES = ['RuleId', 'CceId', 'Description', 'Result', 'Severity', 'Category'];

/** A snapshot lists the rules that fail: `added` is one that fails now, `removed` one that no longer does. */
export const baselineChanges: ChangeKind = {
  event: 'OSBaseline',
  source: 'baseline_change',

  read: (row) => pick(allFields(row), NAMES),

  // RuleId can be left out of a message, CceId cannot; several rules can have one CceId.
  keyOf: ({ CceId = '', Description = '' }) => `${CceId} ${Description}`,

  differences(compared) {
    return [
      ...compared.added.map(added),
      ...compared.removed.map(removed),
      ...compared.modified.flatMap(({ before, after }) =>
        before === undefined || before.Result === after.Result ? [] : [modified(before, after)],
      ),
    ];
  },
};
