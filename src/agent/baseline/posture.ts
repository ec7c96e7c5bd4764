import type { BaselinePosture, BaselineReport, CheckResult, ScanOptions } from '../../core/contract/baseline.ts';
import { CUSTOM_CHECKS_REFUSED } from './custom-checks.ts';

/** The state of a scan in the status. */
export function postureOf(report: BaselineReport, options: ScanOptions): BaselinePosture {
  const { outcomes, ruleSet, customChecksRefused, limits } = report;
  const count = (result: CheckResult) => outcomes.filter((outcome) => outcome.result === result).length;
  const failed = outcomes.filter(({ result }) => result === 'fail');
  const { customChecks } = options;
  return {
    passed: count('pass'),
    failed: failed.length,
    failedBySeverity: {
      critical: failed.filter(({ severity }) => severity === 'Critical').length,
      important: failed.filter(({ severity }) => severity === 'Important').length,
      warning: failed.filter(({ severity }) => severity === 'Warning').length,
      informational: failed.filter(({ severity }) => severity === 'Informational').length,
    },
    errors: count('err'),
    skipped: count('skip'),
    ruleSet: ruleSet.version,
    ruleSetHash: ruleSet.sha256,
    durationMs: report.durationMs,
    scannedAt: report.scannedAt.toISOString(),
    ...joined('groupsDisabled', options.groupsDisabled, ','),
    ...joined('checksDisabled', options.checksDisabled, ','),
    ...joined('roles', options.roles, ','),
    customChecks: customChecks === undefined ? 'off' : customChecksRefused === undefined ? 'on' : 'refused',
    ...(customChecks === undefined ? {} : { customChecksHash: customChecks.sha256 }),
    ...(customChecksRefused === undefined ? {} : { customChecksReason: CUSTOM_CHECKS_REFUSED }),
    ...joined('limits', limits, ' '),
  };
}

const joined = <K extends string>(name: K, list: readonly string[], separator: string): { [P in K]?: string } =>
  list.length === 0 ? {} : ({ [name]: list.join(separator) } as { [P in K]: string });
