import * as v from 'valibot';
import { milliseconds, seconds } from '../../core/base/duration.ts';
import { method } from '../../core/contract/method.ts';
import { count, type MethodParts, nothing } from './parts.ts';

/** Less than the time limit of a method, so that the answer can still report what was sent. */
const LIMIT = seconds(20);
/** Messages that a flush may send although they are not full: the last one of each queue. */
const PARTLY_FILLED = 2;

export const flush = method({
  name: 'flush',
  summary:
    'Closes the aggregation windows and sends all queued events, for at most 20 s. The next flush is possible after twice limits.shortestMessageFrequency.',
  permission: 'flush',
  request: nothing,
  answer: v.strictObject({
    messages: count('Number of messages that the hub accepted.'),
    events: count('Number of events in these messages.'),
    left: count(
      'Number of events still queued: the time limit was reached, the hub accepted no more, or they were collected during the flush.',
    ),
  }),
  rest: seconds(10),
  // In a loop, it costs no more messages than the shortest message frequency would.
  localRest: ({ local: { limits } }: MethodParts) => milliseconds(PARTLY_FILLED * limits.shortestMessageFrequency),
  run: (_request, parts: MethodParts) => parts.flush(LIMIT),
});
