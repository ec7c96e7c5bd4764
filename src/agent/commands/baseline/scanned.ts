import { counted } from '../../../core/base/text.ts';
import {
  type BaselineReport,
  type CheckOutcome,
  type CheckResult,
  type ScanOptions,
  SEVERITIES,
  type Severity,
} from '../../../core/contract/baseline.ts';
import type { Evidence } from './evidence.ts';
import type { Exception } from './exceptions.ts';

/** A scan by `vakt baseline`, for its reports. */
export interface Scanned {
  /** The system that was checked: a host's name, or the path of a root. */
  readonly subject: string;
  readonly options: ScanOptions;
  readonly report: BaselineReport;
  /** Absent in reports of which this is only a part. */
  readonly evidence?: Evidence;
  /** The exceptions of `--exceptions`, including expired ones. `undefined` without that option. */
  readonly exceptions?: readonly Exception[];
}

/** In the order of reports. */
export const RESULTS = ['fail', 'err', 'pass', 'skip'] as const satisfies readonly CheckResult[];

/** The names of results in reports. */
export const RESULT_NAMES: Readonly<Record<CheckResult, string>> = {
  fail: 'Fail',
  err: 'Not judged',
  pass: 'Pass',
  skip: 'Skipped',
};

export const countOf = (outcomes: readonly CheckOutcome[], result: CheckResult): number =>
  outcomes.filter((outcome) => outcome.result === result).length;

/** The number of outcomes per severity, the most severe first; severities without outcomes are left out. */
export const bySeverity = (outcomes: readonly CheckOutcome[]): readonly (readonly [Severity, number])[] =>
  SEVERITIES.map((severity) => [severity, outcomes.filter((one) => one.severity === severity).length] as const).filter(
    ([, count]) => count > 0,
  );

/** Rules that failed, then rules that could not be evaluated, sorted by severity, the most severe first. */
export const problems = ({ outcomes }: BaselineReport): readonly CheckOutcome[] =>
  RESULTS.slice(0, 2)
    .flatMap((result) => outcomes.filter((outcome) => outcome.result === result))
    .toSorted((a, b) => SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity));

export const isAtLeast = (severity: Severity, least: Severity): boolean =>
  SEVERITIES.indexOf(severity) <= SEVERITIES.indexOf(least);

/** Describes the options of a scan: level, walks, and every exception. */
export function scopeOf({ options }: Scanned): string[] {
  const { level, walk, only, roles, groupsDisabled, checksDisabled, customChecks } = options;
  return [
    only === undefined ? `rules of level ${level}` : `${counted(only.length, 'rule')} by name`,
    ...(only === undefined
      ? [walk ? 'with those that walk the file systems' : 'without those that walk the file systems']
      : []),
    ...(roles.length === 0 ? [] : [`for the roles ${roles.join(', ')}`]),
    ...(groupsDisabled.length === 0 ? [] : [`without the categories ${groupsDisabled.join(', ')}`]),
    ...(checksDisabled.length === 0 ? [] : [`without the rules ${checksDisabled.join(', ')}`]),
    ...(customChecks === undefined ? [] : [`with the rules of ${customChecks.path}`]),
  ];
}
