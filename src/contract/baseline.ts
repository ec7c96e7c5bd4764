/* What the hardening engine in baseline/ promises the collector, the status and the command line. */

export const SEVERITIES = ['Critical', 'Important', 'Warning', 'Informational'] as const;
export type Severity = (typeof SEVERITIES)[number];

/** `err`: can't be judged, for example for lack of permission. `skip`: does not apply to this system. */
export type CheckResult = 'pass' | 'fail' | 'skip' | 'err';

/** The outcome of one rule. Texts hold no secrets: never a line out of a file that holds them. */
export interface CheckOutcome {
  /** Stable and dotted: `sysctl.net.ipv4.ip_forward`. */
  readonly rule: string;
  readonly cce?: string;
  readonly category: string;
  readonly severity: Severity;
  /** What must hold. */
  readonly title: string;
  readonly result: CheckResult;
  /** What was found; absent where nothing was. */
  readonly actual?: string;
  readonly expected?: string;
  /** A file, with its line where it has one, or another place. */
  readonly where?: string;
  /** Why it was skipped, or can't be judged. */
  readonly reason?: string;
  /** How to mend it, in one sentence. */
  readonly remediation: string;
  /** Where others ask for the same fact: `CIS Debian 13 7.1.1; …`. */
  readonly source?: string;
}

/** What a scan looks at, and what it leaves out. */
export interface ScanOptions {
  /** 1: what is on by default. 2: what is opt-in, too. */
  readonly level: 1 | 2;
  /** Whether the rules that walk all local file systems are judged. */
  readonly walk: boolean;
  /** Categories and ids that the operator has excepted. */
  readonly groupsDisabled: readonly string[];
  readonly checksDisabled: readonly string[];
  /** Roles that the device is declared to have: `router`, `container-host`, … */
  readonly roles: readonly string[];
  /** Rules of the operator's own, beside the default ones. */
  readonly customChecks?: { readonly path: string; readonly sha256: string };
  /** Judge these only; absent: all. */
  readonly only?: readonly string[];
}

/** Judges this system by the rules. */
export interface BaselineScanner {
  /** Reads only. Rejects with the signal's reason when that aborts, and with AgentError when there can be no scan. */
  scan(options: ScanOptions, signal: AbortSignal): Promise<BaselineReport>;
}

/** What one scan found. */
export interface BaselineReport {
  readonly ruleSet: { readonly version: string; readonly sha256: string };
  readonly scannedAt: Date;
  readonly durationMs: number;
  /** One for each rule, skipped ones too, in the order of the rule set; custom ones last. */
  readonly outcomes: readonly CheckOutcome[];
  /** Names in the options that no rule, category or role has. */
  readonly unknown: readonly string[];
  /** Why the custom checks were not judged; the default ones were. For the device's own log and root's command only. */
  readonly customChecksRefused?: string;
  /** What the scan as a whole could not see, and what would grant it. */
  readonly limits: readonly string[];
}

/** A scan as the status shows it (contract §2): what was found, and every exception that it made. No lists: a twin has none. */
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
  /** Of the file that is wanted. */
  readonly customChecksHash?: string;
  /** Why they are refused; what the scan could not see. */
  readonly customChecksReason?: string;
  readonly limits?: string;
}
