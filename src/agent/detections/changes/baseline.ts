import { added, modified, removed } from './change.ts';
import type { ChangeKind } from './kind.ts';
import { allFields, pick } from './rows.ts';

/** Without the found value, which can differ each time. */
const NAMES = ['RuleId', 'CceId', 'Description', 'Result', 'Severity', 'Category'];

/** A snapshot lists the failed rules: `added` means that a rule fails now, `removed` that it no longer does. */
export const baselineChanges: ChangeKind = {
  event: 'OSBaseline',
  source: 'baseline_change',

  read: (row) => pick(allFields(row), NAMES),

  // Messages may omit RuleId but not CceId; several rules can have the same CceId.
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
