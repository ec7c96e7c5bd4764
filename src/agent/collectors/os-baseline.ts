import * as v from 'valibot';
import { type CheckOutcome, SEVERITIES } from '../../core/contract/baseline.ts';
import { periodic } from '../../core/contract/collector.ts';
import { EVENTS } from '../../core/contract/events.ts';
import type { Settings } from '../../core/contract/settings.ts';
import { details, extraDetails, oneOf, text } from './fields.ts';

/** Hardening rules that the system does not meet. */
export const osBaseline = periodic({
  ...EVENTS.OSBaseline,
  version: '1.0',
  summary: 'Every hardening rule that fails or could not be evaluated; the most severe first.',
  source: 'files, kernel parameters and the sources of FirewallConfiguration, by the rules in config/baseline',

  payload: v.strictObject({
    Description: text('What the rule requires.'),
    CceId: text("Id of the rule in the Common Configuration Enumeration, else the rule's own id."),
    Result: oneOf(
      ['Pass', 'Fail', 'Err'],
      'Err: the rule could not be evaluated. Rules that pass or do not apply are not sent.',
    ),
    Error: text('What was found instead, or why the rule could not be evaluated.'),
    Severity: oneOf(SEVERITIES, 'Severity of the rule.'),
    ExtraDetails: extraDetails(
      "RuleId: the rule's stable id. Category: the rule's category. Actual: the value found. Expected: the value required. Where: the file or " +
        'parameter. Remediation: how to fix it. Source: benchmarks and guides that require the same.',
    ),
  }),

  inParts: true,

  sourceStatus: ({ baseline }) => baseline.status(),

  isOutdated: (before, now) => baselineSettings(before) !== baselineSettings(now),

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

/** Never empty. Complete without ExtraDetails, which other senders of this event don't have. */
function errorOf({ result, actual, where, reason }: CheckOutcome): string {
  const place = where === undefined ? '' : ` (${where})`;
  if (result === 'err') return `Could not be evaluated: ${reason ?? 'unknown reason'}${place}`;
  return `Found: ${actual ?? reason ?? 'not as required'}${place}`;
}

const baselineSettings = (settings: Settings) =>
  JSON.stringify(Object.entries(settings).filter(([key]) => key.startsWith('baseline')));
