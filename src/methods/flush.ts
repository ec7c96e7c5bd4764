import * as v from 'valibot';
import { seconds } from '../base/duration.ts';
import { method } from '../contract/method.ts';
import { count, nothing } from './fields.ts';
import type { MethodParts } from './parts.ts';

/** Less than the time limit of a method, so that the answer can still report what was sent. */
const LIMIT = seconds(20);

export const flush = method({
  name: 'flush',
  summary: 'Closes the aggregation windows and sends all queued events, for at most 20 s.',
  permission: 'flush',
  request: nothing,
  answer: v.strictObject({
    messages: count('Number of messages that the hub accepted.'),
    events: count('Number of events in these messages.'),
    left: count(
      'Number of events still queued: the time was up, the hub accepted no more, or they were collected meanwhile.',
    ),
  }),
  rest: seconds(10),
  run: (_request, parts: MethodParts) => parts.flush(LIMIT),
});
