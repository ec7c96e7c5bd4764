import * as v from 'valibot';
import { periodic } from '../contract/collector.ts';
import { integer } from './fields.ts';

/** How the talk with the hub goes. */
export const messageStatistics = periodic({
  name: 'MessageStatistics',
  type: 'Operational',
  priority: 'Low',
  version: '1.0',
  summary: 'How many messages the hub accepted since the last report, how small they were, and what failed.',
  source: "the agent's own books",

  payload: v.strictObject({
    MessagesSent: integer('Messages the hub accepted.'),
    MessagesUnder4KB: integer('Of these, the ones of fewer than 4096 bytes on the wire; the hub bills them as 4096.'),
    TotalFailed: integer('Attempts that the hub did not accept.'),
  }),

  async collect({ statistics }) {
    const { sent, under4KB, failed } = await statistics.messages();
    return [{ MessagesSent: sent, MessagesUnder4KB: under4KB, TotalFailed: failed }];
  },
});
