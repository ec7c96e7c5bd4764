import * as v from 'valibot';
import { periodic } from '../../core/contract/collector.ts';
import { EVENTS } from '../../core/contract/events.ts';
import { details, extraDetails, integer, oneOf } from './fields.ts';

/** Numbers of collected and dropped events. */
export const droppedEventsStatistics = periodic({
  ...EVENTS.DroppedEventsStatistics,
  version: '1.0',
  summary: 'Numbers of events collected and dropped by each queue since the last report.',
  source: "the agent's own counters",

  payload: v.strictObject({
    Queue: oneOf(['High', 'Low'], 'The queue, named by the priority of its events.'),
    CollectedEvents: integer('Events collected for the queue since the last report.'),
    DroppedEvents: integer('Events of the queue dropped since the last report, including events collected before.'),
    ExtraDetails: extraDetails('DroppedEvents by reason, each a number: Kernel, Malformed, CacheFull and others.'),
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
