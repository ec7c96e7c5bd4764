import type { Clock } from '../../core/base/clock.ts';
import { seconds } from '../../core/base/duration.ts';
import type { BaselineReport, BaselineScanner, CheckOutcome, ScanOptions } from '../../core/contract/baseline.ts';
import type { FirewallRule } from '../../core/contract/sources.ts';
import type { ScanView } from './access.ts';
import { readCustomChecks } from './custom-checks.ts';
import { hasFeature, missingText } from './features.ts';
import { type Check, CUSTOM, formatStage, START, sourceLine, stageOf } from './rule.ts';
import { defaultRules, type RuleSet } from './rule-set.ts';
import { System } from './system.ts';
import { cannotEvaluate, skip, type Verdict } from './verdict.ts';

/** What the engine needs of others. */
export interface EngineParts {
  /** `/`, a host's root in a container, or a tree that does not run. */
  readonly hostRoot: string;
  readonly clock: Clock;
  /** Reads the packet filter, as src/agent/linux/firewall does. If absent, rules about it are skipped. */
  readonly firewall?: { rules(signal: AbortSignal): Promise<readonly FirewallRule[]> };
  /**
   * Detects file capabilities, as linux/native/system-calls.ts does. If absent, the rule about them is skipped.
   */
  readonly fileCapabilities?: () => ((place: Buffer) => boolean) | undefined;
  /** Overrides the detection of whether the agent runs in a container. */
  readonly inContainer?: boolean;
  /** Replaces the rules shipped with the agent. */
  readonly rules?: RuleSet;
  /** Called before each step, see `formatStage` in rule.ts. */
  readonly at?: (step: string) => void;
  /** Paths at which an earlier scan hung, keyed by stage. The rules of such a stage are not evaluated. */
  readonly hung?: Readonly<Record<string, string>>;
}

/** Rules that are not evaluated within this time are reported as `err`. Time spent walking the file systems does not count. */
const LONGEST_SCAN = seconds(60);

/** Evaluates the rules. It only reads, starts no program, and yields to the event loop every few milliseconds. */
export class BaselineEngine implements BaselineScanner {
  readonly #parts: EngineParts;

  constructor(parts: EngineParts) {
    this.#parts = parts;
  }

  /** @throws only the signal's reason, when it aborts */
  async scan(options: ScanOptions, signal: AbortSignal): Promise<BaselineReport> {
    const { clock, hung = {} } = this.#parts;
    let stage = START;
    const at = (where: string) => this.#parts.at?.(formatStage(stage, where));
    at(this.#parts.hostRoot);
    const rules = this.#parts.rules ?? defaultRules();
    const scannedAt = clock.now();
    const began = clock.monotonic();
    const system = new System({ ...this.#parts, at, signal });
    stage = CUSTOM;
    at(options.customChecks?.path ?? '');
    const custom =
      hung[CUSTOM] === undefined
        ? readCustomChecks(options.customChecks, rules)
        : { checks: [], refused: hungAt(hung[CUSTOM]) };
    const checks = [...rules.checks, ...custom.checks];
    const chosen = options.only === undefined ? checks : checks.filter(({ rule }) => options.only?.includes(rule.id));
    const verdicts: Verdict[] = [];
    const outcomes: CheckOutcome[] = [];
    for (const check of chosen) {
      signal.throwIfAborted();
      const late = clock.monotonic() - began - system.walkedFor() > LONGEST_SCAN;
      stage = stageOf(check.rule);
      at(check.rule.id);
      const hungWhere = hung[stage];
      const verdict =
        exceptionOf(check, options) ??
        (hungWhere === undefined ? undefined : cannotEvaluate(hungAt(hungWhere))) ??
        (await whyNot(check, system)) ??
        (late ? tooLate : await evaluate(check, system, signal));
      verdicts.push(verdict);
      outcomes.push(outcomeOf(check, verdict));
      await system.pace();
    }
    signal.throwIfAborted();
    return {
      ruleSet: { version: rules.version, sha256: rules.sha256 },
      scannedAt,
      durationMs: Math.round(clock.monotonic() - began),
      outcomes,
      unknown: unknownNames(options, rules, checks),
      ...(custom.refused === undefined ? {} : { customChecksRefused: custom.refused }),
      limits: [
        ...limitsOf(system.view, verdicts),
        ...Object.entries(hung)
          // Omits custom checks, where it would reveal the reason for refusing them, see CUSTOM_CHECKS_REFUSED.
          .filter(([stage]) => stage !== CUSTOM)
          .map(([, where]) => `Some rules were not evaluated: ${hungAt(where)}.`),
      ],
    };
  }
}

const hungAt = (where: string) => `reading ${where} hung, as on a file system that does not answer`;

const tooLate = cannotEvaluate(`the scan took longer than ${LONGEST_SCAN / 1_000} s`);

/** The operator's exception or option that skips a rule; `undefined`: none. */
function exceptionOf({ rule }: Check, options: ScanOptions): Verdict | undefined {
  const { id, category, level, appliesTo, primitive } = rule;
  if (options.checksDisabled.includes(id)) return skip('excepted by the operator: the rule');
  if (options.groupsDisabled.includes(category)) return skip(`excepted by the operator: the category ${category}`);
  const asked = options.only !== undefined;
  if (!asked && level > options.level) return skip('level 2, which is not asked for');
  if (!asked && primitive === 'fswalk' && !options.walk) return skip('walks the file systems, which is not asked for');
  const role = appliesTo.notRole?.find((name) => options.roles.includes(name));
  return role === undefined ? undefined : skip(`the device is declared to be: ${role}`);
}

/** The missing feature that skips a rule; `undefined`: none. */
async function whyNot({ rule: { appliesTo } }: Check, system: System): Promise<Verdict | undefined> {
  if (!appliesTo.container && system.view === 'container') return skip('not visible from within a container');
  for (const need of appliesTo.needs ?? []) {
    const has = await Promise.all(need.split('|').map((name) => hasFeature(system, name)));
    if (!has.includes(true)) return skip(missingText(need));
  }
  return undefined;
}

async function evaluate(check: Check, system: System, signal: AbortSignal): Promise<Verdict> {
  try {
    return await check.evaluate(system);
  } catch (error) {
    signal.throwIfAborted();
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'internal error';
    return cannotEvaluate(`failed: ${code}`); // without the message, which may quote file contents
  }
}

function outcomeOf({ rule, expected, remedy }: Check, verdict: Verdict): CheckOutcome {
  const { id, cce, category, severity, title, source } = rule;
  const { result, actual, where, reason } = verdict;
  return {
    rule: id,
    ...(cce === undefined ? {} : { cce }),
    category,
    severity,
    title,
    result,
    ...(actual === undefined ? {} : { actual }),
    expected,
    ...(where === undefined ? {} : { where }),
    ...(reason === undefined ? {} : { reason }),
    remediation: remedy,
    ...(source === undefined ? {} : { source: sourceLine(source) }),
  };
}

function unknownNames(options: ScanOptions, rules: RuleSet, checks: readonly Check[]): string[] {
  const ids = new Set(checks.map(({ rule }) => rule.id));
  const categories = new Set(checks.map(({ rule }) => rule.category));
  return [
    ...options.groupsDisabled.filter((name) => !categories.has(name)),
    ...[...options.checksDisabled, ...(options.only ?? [])].filter((id) => !ids.has(id)),
    ...options.roles.filter((name) => !Object.hasOwn(rules.roles, name)),
  ];
}

const OF_VIEW: Readonly<Record<ScanView, string | undefined>> = {
  host: undefined,
  'mounted-host': undefined,
  container:
    'The agent runs in a container: rules about the host were skipped. To evaluate the host, mount its root read-only with its /proc, and set hostRoot.',
  tree: 'The root is a file tree, not a running system: rules about the running kernel were skipped, or evaluated by their configuration files.',
};

const rules = (count: number) => `${count} ${count === 1 ? 'rule' : 'rules'} could`;

function limitsOf(view: ScanView, verdicts: readonly Verdict[]): string[] {
  const denied = verdicts.filter((verdict) => verdict.denied).length;
  const late = verdicts.filter((verdict) => verdict === tooLate).length;
  return [
    ...(OF_VIEW[view] === undefined ? [] : [OF_VIEW[view]]),
    ...(denied === 0
      ? []
      : [`${rules(denied)} not be evaluated for lack of permission. Run as root, or grant CAP_DAC_READ_SEARCH.`]),
    ...(late === 0 ? [] : [`${rules(late)} not be evaluated: ${tooLate.reason}.`]),
  ];
}
