import * as v from 'valibot';
import { hours } from '../base/duration.ts';
import type { LOG_LEVELS } from '../base/log.ts';
import { method } from '../contract/method.ts';
import { A_DAY, durationUpTo, text, time } from './fields.ts';
import type { MethodParts } from './parts.ts';

/** Whoever calls may hear more, not silence the device's log: errors stay. */
const LEVELS = ['trace', 'debug', 'info', 'warn', 'error'] as const satisfies readonly (typeof LOG_LEVELS)[number][];

export const setLogLevel = method({
  name: 'setLogLevel',
  summary: "Changes the level of the device's own log for a while; then the local file's comes back.",
  permission: 'setLogLevel',
  request: v.strictObject({
    level: v.pipe(
      v.picklist(LEVELS, `must be one of ${LEVELS.join(', ')}`),
      v.description('Least level that is logged.'),
    ),
    duration: v.optional(durationUpTo(A_DAY, 'How long; ISO 8601, at most PT24H; PT1H when absent.')),
  }),
  answer: v.strictObject({
    level: text('In force now.'),
    until: time("When that ends, by the device's clock."),
    afterwards: text('In force then.'),
  }),
  run: ({ level, duration = hours(1) }, { logLevel }: MethodParts) => logLevel.set(level, duration),
});
