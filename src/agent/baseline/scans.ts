import type { Clock } from '../../core/base/clock.ts';
import type { Logger } from '../../core/base/log.ts';
import type {
  BaselinePosture,
  BaselineReport,
  BaselineScanner,
  CheckResult,
  ScanOptions,
} from '../../core/contract/baseline.ts';
import type { SettingId, Settings, SettingsReader } from '../../core/contract/settings.ts';
import type { SourceStatus } from '../../core/contract/sources.ts';
import type { SettingFault } from '../../core/contract/streams.ts';
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

/** Maximum names of a list in a warning; the rest is counted. */
const MAX_NAMED = 8;

/** Runs scans with the options of the module twin, and reports the state of the last one. */
export class BaselineScans {
  readonly #scanner: BaselineScanner;
  readonly #settings: Pick<SettingsReader, 'current'>;
  readonly #onFaults: (faults: readonly SettingFault[]) => void;
  readonly #clock: Clock;
  readonly #log: Logger;
  #last:
    | { readonly report: BaselineReport; readonly options: ScanOptions; readonly posture: BaselinePosture }
    | undefined;
  /** The options of the custom checks last refused; `#refusedFor` is the reason. */
  #refused: string | undefined;
  #refusedFor: string | undefined;

  constructor(options: {
    scanner: BaselineScanner;
    settings: Pick<SettingsReader, 'current'>;
    /** Called when the file of custom checks is refused, once for each file and digest. */
    onFaults: (faults: readonly SettingFault[]) => void;
    clock: Clock;
    log: Logger;
  }) {
    this.#scanner = options.scanner;
    this.#settings = options.settings;
    this.#onFaults = options.onFaults;
    this.#clock = options.clock;
    this.#log = options.log;
  }

  async scan(signal: AbortSignal): Promise<BaselineReport> {
    const options = scanOptions(this.#settings.current());
    const report = await this.#scanner.scan(options, signal);
    this.#last = { report, options, posture: postureOf(report, options) };
    this.#reportRefusal(report, options);
    return report;
  }

  /** The limits of the last scan, and custom checks that were not evaluated. */
  status(): SourceStatus {
    const { customChecksRefused, limits = [] } = this.#last?.report ?? {};
    const reasons = [
      ...limits,
      ...(customChecksRefused === undefined ? [] : [`The custom checks are not evaluated: ${CUSTOM_CHECKS_REFUSED}.`]),
    ];
    return reasons.length === 0 ? { state: 'on' } : { state: 'degraded', reason: reasons.join(' ') };
  }

  /** `undefined` before the first scan. */
  posture(): BaselinePosture | undefined {
    return this.#last?.posture;
  }

  /** Parts that the last scan could not apply, keyed by setting. */
  warnings(): Readonly<Partial<Record<SettingId, string>>> {
    if (this.#last === undefined) return {};
    const { report, options } = this.#last;
    const warnings: Partial<Record<SettingId, string>> = {};
    for (const [setting, names, kind] of [
      ['baselineGroupsDisabled', options.groupsDisabled, 'category'],
      ['baselineChecksDisabled', options.checksDisabled, 'rule'],
      ['baselineRoles', options.roles, 'role'],
    ] as const) {
      const unknown = names.filter((name) => report.unknown.includes(name));
      if (unknown.length > 0) warnings[setting] = `names an unknown ${kind}: ${listed(unknown)}`;
    }
    const { customChecksRefused } = report;
    if (customChecksRefused !== undefined)
      warnings.baselineCustomChecksFilePath = `is not evaluated: ${CUSTOM_CHECKS_REFUSED}`;
    return warnings;
  }

  #reportRefusal({ customChecksRefused }: BaselineReport, { customChecks }: ScanOptions): void {
    const refused = customChecksRefused === undefined ? undefined : JSON.stringify(customChecks);
    if (refused !== undefined && (refused !== this.#refused || customChecksRefused !== this.#refusedFor)) {
      // The reason is logged in a field that is not sent in Diagnostic events and to direct methods.
      const line = 'Rejected the file of custom checks; evaluating the default rules.';
      if (refused === this.#refused) this.#log.info({ why: customChecksRefused }, line);
      else this.#log.warn({ why: customChecksRefused }, line);
    }
    const isNew = refused !== this.#refused;
    this.#refused = refused;
    this.#refusedFor = customChecksRefused;
    if (refused === undefined || !isNew) return;
    this.#onFaults([
      {
        time: this.#clock.now(),
        setting: 'baselineCustomChecksFilePath',
        type: 'TypeMismatch',
        used: JSON.stringify(customChecks?.path),
        message: `is not evaluated: ${CUSTOM_CHECKS_REFUSED}`,
      },
    ]);
  }
}

/** Without opt-in rules and walks of the file systems, which only the command line offers. */
function scanOptions(settings: Settings): ScanOptions {
  const { baselineCustomChecksFilePath: path, baselineCustomChecksFileHash: sha256 } = settings;
  const isWanted = settings.baselineCustomChecksEnabled && path !== undefined && sha256 !== undefined;
  return {
    level: 1,
    walk: false,
    groupsDisabled: settings.baselineGroupsDisabled,
    checksDisabled: settings.baselineChecksDisabled,
    roles: settings.baselineRoles,
    ...(isWanted ? { customChecks: { path, sha256 } } : {}),
  };
}

const listed = (names: readonly string[]) =>
  names.length <= MAX_NAMED
    ? names.join(', ')
    : `${names.slice(0, MAX_NAMED).join(', ')} and ${names.length - MAX_NAMED} more`;
