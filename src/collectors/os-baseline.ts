import * as v from 'valibot';
import { type CheckOutcome, SEVERITIES } from '../contract/baseline.ts';
import { periodic } from '../contract/collector.ts';
import { details, extraDetails, oneOf, text } from './fields.ts';

/** Where the system is softer than it should be. */
export const osBaseline = periodic({
  name: 'OSBaseline',
  type: 'Security',
  priority: 'Low',
  version: '1.0',
  summary: 'Every hardening rule that does not hold, or could not be judged; the most severe first.',
  source: 'files and kernel parameters, and what FirewallConfiguration reads, by the rules in config/baseline',

  payload: v.strictObject({
    Description: text('What must hold.'),
    CceId: text('Id of the rule in the Common Configuration Enumeration; where it has none, its own.'),
    Result: oneOf(['Pass', 'Fail', 'Err'], 'Err: it could not be judged. What holds or does not apply is not sent.'),
    Error: text('What was found instead; or why it could not be judged.'),
    Severity: oneOf(SEVERITIES, 'How much depends on it.'),
    ExtraDetails: extraDetails(
      'RuleId: stable and dotted. Category. Actual, Expected, Where: what was found, what should be, in which file. ' +
        'Remediation: how to mend it. Source: where others ask for the same.',
    ),
  }),

  inParts: true,

  sourceStatus: ({ baseline }) => baseline.status(),

  isOutdated: (before, now) => JSON.stringify(before.baseline) !== JSON.stringify(now.baseline),

  async collect({ baseline }, signal) {
    const { outcomes } = await baseline.scan(signal);
    return outcomes
      .filter(({ result }) => result === 'fail' || result === 'err')
      .toSorted((a, b) => SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity))
      .map(row);
  },
});

const row = (outcome: CheckOutcome) => ({
  Description: outcome.title,
  CceId: outcome.cce ?? outcome.rule,
  Result: outcome.result === 'err' ? ('Err' as const) : ('Fail' as const),
  Error: errorOf(outcome),
  Severity: outcome.severity,
  ...details({
    RuleId: outcome.rule,
    Category: outcome.category,
    Actual: outcome.actual,
    Expected: outcome.expected,
    Where: outcome.where,
    Remediation: outcome.remediation,
    Source: outcome.source,
  }),
});

/** Never empty. Complete in itself, since others who send this event leave ExtraDetails out. */
function errorOf({ result, actual, where, reason }: CheckOutcome): string {
  const place = where === undefined ? '' : ` (${where})`;
  if (result === 'err') return `Could not be judged: ${reason ?? 'no reason is known'}${place}`;
  return `Found: ${actual ?? reason ?? 'not as it should be'}${place}`;
}
