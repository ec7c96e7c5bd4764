import * as v from 'valibot';
import { periodic } from '../contract/collector.ts';
import { details, extraDetails, text } from './fields.ts';

/** Who has an account here, and what it may do. */
export const localUsers = periodic({
  name: 'LocalUsers',
  type: 'Security',
  priority: 'High',
  version: '1.0',
  summary: 'Every account that the system lists, with its groups.',
  source: 'getent(1), where the system has it, else /etc/passwd and /etc/group; /etc/shadow, see shadow(5)',

  payload: v.strictObject({
    UserName: text("The account's name."),
    UserId: text('Its user id, in decimal; several accounts can share one.'),
    GroupNames: text(
      'Names of its groups, joined with ";", the primary group first; the id where a group has no name.',
    ),
    GroupIds: text('Ids of the same groups in the same order, joined with ";".'),
    ExtraDetails: extraDetails(
      'Shell: the program that a login starts. Password: "set", "locked" (none fits) or "empty" (none is asked for), ' +
        'when the shadow file can be read. Never the password or its hash.',
    ),
  }),

  inParts: true,

  sourceStatus: ({ accounts }) => accounts.status(),

  async collect({ accounts }, signal) {
    const all = await accounts.list(signal);
    // Whoever has root's rights comes first, see `collect` of contract/collector.ts.
    const sorted = all.toSorted((a, b) => Number(a.userId !== 0) - Number(b.userId !== 0));
    return sorted.map(({ name, userId, groups, shell, password }) => ({
      UserName: name,
      UserId: String(userId),
      GroupNames: groups.map((group) => group.name).join(';'),
      GroupIds: groups.map((group) => group.id).join(';'),
      ...details({ Shell: shell, Password: password }),
    }));
  },
});
