import * as v from 'valibot';
import { periodic } from '../../core/contract/collector.ts';
import { EVENTS } from '../../core/contract/events.ts';
import { integer } from './fields.ts';

/** Numbers of messages sent and failed. */
export const messageStatistics = periodic({
  ...EVENTS.MessageStatistics,
  version: '1.0',
  summary: 'Numbers of messages that the hub accepted and did not accept since the last report.',
  source: "the agent's own counters",

  payload: v.strictObject({
    MessagesSent: integer('Messages that the hub accepted.'),
    MessagesUnder4KB: integer('Accepted messages of fewer than 4096 bytes on the wire; the hub bills each as 4096.'),
    TotalFailed: integer('Send attempts that the hub did not accept.'),
  }),

  async collect({ statistics }) {
    const { sent, under4KB, failed } = await statistics.messages();
    return [{ MessagesSent: sent, MessagesUnder4KB: under4KB, TotalFailed: failed }];
  },
});
