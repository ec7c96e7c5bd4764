import * as v from 'valibot';
import { periodic } from '../contract/collector.ts';
import { text } from './fields.ts';

/** Who has an account here, and what it may do. */
export const localUsers = periodic({
  name: 'LocalUsers',
  type: 'Security',
  priority: 'High',
  version: '1.0',
  summary: 'Every local account with its groups.',
  source: '/etc/passwd and /etc/group, see passwd(5) and group(5)',

  payload: v.strictObject({
    UserName: text("The account's name."),
    UserId: text('Its user id, in decimal; several accounts can share one.'),
    GroupNames: text(
      'Names of its groups, joined with ";", the primary group first; the id where a group has no name.',
    ),
    GroupIds: text('Ids of the same groups in the same order, joined with ";".'),
  }),

  async collect({ accounts }) {
    return (await accounts.list()).map(({ name, userId, groups }) => ({
      UserName: name,
      UserId: String(userId),
      GroupNames: groups.map((group) => group.name).join(';'),
      GroupIds: groups.map((group) => group.id).join(';'),
    }));
  },
});
