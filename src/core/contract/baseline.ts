/* The interface of the hardening engine in baseline/ for the collector, the status and the command line. */

export const SEVERITIES = ['Critical', 'Important', 'Warning', 'Informational'] as const;
export type Severity = (typeof SEVERITIES)[number];

/** `err`: can't be evaluated, for example for lack of permission. `skip`: does not apply to this system. */
export type CheckResult = 'pass' | 'fail' | 'skip' | 'err';

/** The outcome of one rule. Its strings never contain lines of files with secrets. */
export interface CheckOutcome {
  /** Stable and dotted: `sysctl.net.ipv4.ip_forward`. */
  readonly rule: string;
  readonly cce?: string;
  readonly category: string;
  readonly severity: Severity;
  /** The requirement. */
  readonly title: string;
  readonly result: CheckResult;
  /** The finding; omitted if there is none. */
  readonly actual?: string;
  readonly expected?: string;
  /** Where it was found: a file, with the line if it has one, or another source. */
  readonly where?: string;
  /** Why it was skipped or can't be evaluated. */
  readonly reason?: string;
  /** How to fix it, in one sentence. */
  readonly remediation: string;
  /** Published guidelines that require the same: `CIS Debian 13 7.1.1; …`. */
  readonly source?: string;
}

/** What a scan covers. */
export interface ScanOptions {
  /** 1: the default rules. 2: the opt-in rules, too. */
  readonly level: 1 | 2;
  /** Whether to evaluate rules that walk all local file systems. */
  readonly walk: boolean;
  /** Categories, and ids of rules, that the operator has disabled. */
  readonly groupsDisabled: readonly string[];
  readonly checksDisabled: readonly string[];
  /** Roles that the operator has declared for the device: `router`, `container-host`, … */
  readonly roles: readonly string[];
  /** A file with the operator's rules, which are evaluated in addition to the default ones. */
  readonly customChecks?: { readonly path: string; readonly sha256: string };
  /** Ids of the rules to evaluate. Default: all. */
  readonly only?: readonly string[];
}

/** Evaluates the rules on this system. */
export interface BaselineScanner {
  /**
   * Changes nothing. Rejects with the signal's reason when that aborts, and with AgentError when a scan is impossible.
   */
  scan(options: ScanOptions, signal: AbortSignal): Promise<BaselineReport>;
}

/** What one scan found. */
export interface BaselineReport {
  readonly ruleSet: { readonly version: string; readonly sha256: string };
  readonly scannedAt: Date;
  readonly durationMs: number;
  /** One for each rule, including skipped ones, in the order of the rule set; custom ones last. */
  readonly outcomes: readonly CheckOutcome[];
  /** Names in the options that match no rule, category or role. */
  readonly unknown: readonly string[];
  /** Why the custom rules were not evaluated. Only for the device's own log and for root's command. */
  readonly customChecksRefused?: string;
  /** What the scan could not see, and which permission or setting would let it. */
  readonly limits: readonly string[];
}

/** A scan in the status (contract §2), with every exception in force. The status has no arrays. */
export interface BaselinePosture {
  readonly passed: number;
  readonly failed: number;
  readonly failedBySeverity: {
    readonly critical: number;
    readonly important: number;
    readonly warning: number;
    readonly informational: number;
  };
  readonly errors: number;
  readonly skipped: number;
  /** Version of the default rules, and SHA-256 of their files. */
  readonly ruleSet: string;
  readonly ruleSetHash: string;
  readonly durationMs: number;
  readonly scannedAt: string;
  /** Names joined with `,`; absent when there are none. */
  readonly groupsDisabled?: string;
  readonly checksDisabled?: string;
  readonly roles?: string;
  readonly customChecks: 'off' | 'on' | 'refused';
  /** The configured SHA-256 of the file. */
  readonly customChecksHash?: string;
  /** Why the custom rules are refused. */
  readonly customChecksReason?: string;
  /** What the scan could not see. */
  readonly limits?: string;
}
