import * as v from 'valibot';
import { type Method, MethodRefusal, method } from '../contract/method.ts';
import { LONGEST_PAUSE, LONGEST_REASON } from '../pipeline/pause.ts';
import { count, durationUpTo, nothing, text, time } from './fields.ts';
import type { MethodParts } from './parts.ts';

const REASON = `must be 1 to ${LONGEST_REASON} characters, none of them a control character`;

export const pause: Method<MethodParts> = method({
  name: 'pause',
  summary:
    'Stops collecting Security events for a while; what is skipped is counted. It ends by itself, and a restart does not end it.',
  permission: 'pause',
  request: v.strictObject({
    duration: durationUpTo(['PT24H', LONGEST_PAUSE], 'How long, from now; ISO 8601, at most PT24H.'),
    reason: v.pipe(
      v.string(REASON),
      v.minLength(1, REASON),
      v.maxLength(LONGEST_REASON, REASON),
      v.regex(/^\P{Cc}*$/u, REASON),
      v.description('Why; shown in the status.'),
    ),
  }),
  answer: v.strictObject({
    until: time("When it ends, by the device's clock."),
    outlastsRestart: v.pipe(v.boolean(), v.description('False when it could not be written to disk.')),
  }),
  async run({ duration, reason }, { pause, status }: MethodParts) {
    const isKept = pause.begin(duration, reason);
    const until = status().pause?.until ?? '';
    return { until, outlastsRestart: await isKept };
  },
});

export const resume: Method<MethodParts> = method({
  name: 'resume',
  summary: 'Ends a pause; snapshots that were skipped are taken.',
  permission: 'pause',
  request: nothing,
  answer: v.strictObject({
    reason: text('Of the pause that has ended.'),
    skipped: count('Events that it has left out.'),
  }),
  run(_request, { pause }: MethodParts) {
    const ended = pause.end();
    if (ended === undefined) throw new MethodRefusal('Collecting is not paused.');
    const { reason, skipped } = ended;
    return { reason, skipped };
  },
});
