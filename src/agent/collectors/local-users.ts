import * as v from 'valibot';
import { periodic } from '../../core/contract/collector.ts';
import { EVENTS } from '../../core/contract/events.ts';
import { details, extraDetails, text } from './fields.ts';

/** Accounts and their groups. */
export const localUsers = periodic({
  ...EVENTS.LocalUsers,
  version: '1.0',
  summary: 'Every account that the system lists, with its groups.',
  source: 'getent(1) if installed, else /etc/passwd and /etc/group; /etc/shadow, see shadow(5)',

  payload: v.strictObject({
    UserName: text('Name of the account.'),
    UserId: text('User id, in decimal; several accounts can share one.'),
    GroupNames: text(
      'Names of its groups, joined by ";", the primary group first; the id of a group that has no name.',
    ),
    GroupIds: text('Ids of the same groups in the same order, joined by ";".'),
    ExtraDetails: extraDetails(
      'Shell: the login shell. Password: "set", "locked" (no password is accepted) or "empty" (no password is required), ' +
        'if the shadow file can be read. Neither the password nor its hash is ever sent.',
    ),
  }),

  inParts: true,

  trace: ({ accounts }, signal) => accounts.trace(signal),

  sourceStatus: ({ accounts }) => accounts.status(),

  async collect({ accounts }, signal) {
    const all = await accounts.list(signal);
    // Accounts with user id 0 come first, because a full message omits the last rows.
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
