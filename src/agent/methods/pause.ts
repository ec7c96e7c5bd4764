import * as v from 'valibot';
import { type Method, MethodRefusal, method } from '../../core/contract/method.ts';
import { LONGEST_PAUSE, LONGEST_REASON } from '../pipeline/pause.ts';
import { count, durationUpTo, type MethodParts, nothing, text, time } from './parts.ts';

const REASON = `must have 1 to ${LONGEST_REASON} characters without control characters`;

export const pause: Method<MethodParts> = method({
  name: 'pause',
  summary:
    'Stops collecting Security events other than alerts for a limited time, and counts the skipped ones. The pause continues after a restart.',
  permission: 'pause',
  request: v.strictObject({
    duration: durationUpTo(['PT24H', LONGEST_PAUSE], 'Length of the pause from now; ISO 8601, at most PT24H.'),
    reason: v.pipe(
      v.string(REASON),
      v.minLength(1, REASON),
      v.maxLength(LONGEST_REASON, REASON),
      v.regex(/^\P{Cc}*$/u, REASON),
      v.description('Reason for the pause; shown in the status.'),
    ),
  }),
  answer: v.strictObject({
    until: time("End of the pause, by the device's clock."),
    outlastsRestart: v.pipe(
      v.boolean(),
      v.description('False if the pause could not be written to disk: a restart ends it.'),
    ),
  }),
  async run({ duration, reason }, { pause, status }: MethodParts) {
    const isKept = pause.begin(duration, reason);
    const until = status().pause?.until ?? '';
    return { until, outlastsRestart: await isKept };
  },
});

export const resume: Method<MethodParts> = method({
  name: 'resume',
  summary: 'Ends a pause, and takes the snapshots that were skipped.',
  permission: 'pause',
  request: nothing,
  answer: v.strictObject({
    reason: text('Reason of the pause that was ended.'),
    skipped: count('Number of events that were skipped during the pause.'),
  }),
  run(_request, { pause }: MethodParts) {
    const ended = pause.end();
    if (ended === undefined) throw new MethodRefusal('No pause is active.');
    const { reason, skipped } = ended;
    return { reason, skipped };
  },
});
