import * as v from 'valibot';
import { hours } from '../../core/base/duration.ts';
import type { LOG_LEVELS } from '../../core/base/log.ts';
import { method } from '../../core/contract/method.ts';
import { A_DAY, durationUpTo, type MethodParts, text, time } from './parts.ts';

/** Not `fatal` or `silent`: a caller must not be able to suppress errors in the device's log. */
const LEVELS = ['trace', 'debug', 'info', 'warn', 'error'] as const satisfies readonly (typeof LOG_LEVELS)[number][];

export const setLogLevel = method({
  name: 'setLogLevel',
  summary: "Changes the level of the device's log for a limited time; then the level of the local file applies again.",
  permission: 'setLogLevel',
  request: v.strictObject({
    level: v.pipe(
      v.picklist(LEVELS, `must be one of ${LEVELS.join(', ')}`),
      v.description('The lowest level that is logged.'),
    ),
    duration: v.optional(durationUpTo(A_DAY, 'How long the level applies; ISO 8601, at most PT24H; default PT1H.')),
  }),
  answer: v.strictObject({
    level: text('The level in force now.'),
    until: time("When that level ends, by the device's clock."),
    afterwards: text('The level in force after that.'),
  }),
  run: ({ level, duration = hours(1) }, { logLevel }: MethodParts) => logLevel.set(level, duration),
});
