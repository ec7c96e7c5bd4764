import * as v from 'valibot';
import { seconds } from '../base/duration.ts';
import { method } from '../contract/method.ts';
import { count, nothing } from './fields.ts';
import type { MethodParts } from './parts.ts';

/** Less than a method may take, so that what was sent can still be told. */
const LIMIT = seconds(20);

export const flush = method({
  name: 'flush',
  summary: 'Closes the aggregation windows and sends everything that waits, for 20 s at most.',
  permission: 'flush',
  request: nothing,
  answer: v.strictObject({
    messages: count('Messages that the hub has taken.'),
    events: count('Events in them.'),
    left: count('Events that still wait, since time ran out, the hub took no more, or they came meanwhile.'),
  }),
  rest: seconds(10),
  run: (_request, parts: MethodParts) => parts.flush(LIMIT),
});
