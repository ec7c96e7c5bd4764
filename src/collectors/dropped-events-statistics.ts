import * as v from 'valibot';
import { periodic } from '../contract/collector.ts';
import { details, extraDetails, integer, oneOf } from './fields.ts';

/** What was collected, and what of it nobody will ever see. */
export const droppedEventsStatistics = periodic({
  name: 'DroppedEventsStatistics',
  type: 'Operational',
  priority: 'Low',
  version: '1.0',
  summary: 'How many events each queue took in and lost since the last report.',
  source: "the agent's own books",

  payload: v.strictObject({
    Queue: oneOf(['High', 'Low'], 'The queue, by the priority of its events.'),
    CollectedEvents: integer('Events collected for it since the last report.'),
    DroppedEvents: integer('Of all events collected for it, those lost since the last report.'),
    ExtraDetails: extraDetails('DroppedEvents by reason: Kernel, Malformed, CacheFull and the like, each a number.'),
  }),

  async collect({ statistics }) {
    return (await statistics.queues()).map(({ queue, collected, dropped, droppedBy }) => ({
      Queue: queue,
      CollectedEvents: collected,
      DroppedEvents: dropped,
      ...details(Object.fromEntries(Object.entries(droppedBy).map(reason))),
    }));
  },
});

/** `cacheFull`, 3 → `CacheFull`, '3'. */
const reason = ([name, count]: [string, number]): [string, string | undefined] => [
  name.charAt(0).toUpperCase() + name.slice(1),
  count === 0 ? undefined : String(count),
];
