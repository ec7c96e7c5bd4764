import { type AlertException, isBroad } from '../../../core/contract/setting-kinds.ts';
import type { SettingId } from '../../../core/contract/settings.ts';
import type { Expression, ParsedRule, Test } from '../sigma/rule.ts';
import { type AlertPolicy, isBelow, isNamed, offReason } from './policy.ts';

const SETTING_OF = { disabledRule: 'detectionsDisabledRules', minimumLevel: 'detectionsMinimumLevel' } as const;

/** Rules of level high or critical that the module twin silences. */
export interface SilencedRules {
  /** The setting that silences most of these rules. */
  readonly setting: SettingId;
  readonly silenced: number;
  /** Including rules that are not silenced. */
  readonly all: number;
  /** Number of these rules that exceptions silence; the setting doesn't show that. */
  readonly byExceptions: number;
}

/**
 * The rules of level high or critical that raise no alert: disabled, below the minimum level, or with an exception that matches
 * nearly everything or all hits of the rule.
 *
 * @param excepted ids of rules that the exceptions silence in combination, see ExceptionEffect
 * @returns `undefined` if there are none
 */
export function silencedRules(
  rules: readonly ParsedRule[],
  policy: AlertPolicy,
  excepted: ReadonlySet<string>,
): SilencedRules | undefined {
  const important = rules.filter(({ facts }) => facts.alerts && !isBelow(facts.level, 'high'));
  const settings = important
    .map((rule) => silencing(rule, policy, excepted))
    .filter((setting) => setting !== undefined);
  const times = (setting: SettingId) => settings.filter((each) => each === setting).length;
  const [setting] = [...new Set(settings)].sort((a, b) => times(b) - times(a));
  if (setting === undefined) return undefined;
  const byExceptions = times('detectionsExceptions');
  return { setting, silenced: settings.length, all: important.length, byExceptions };
}

function silencing(rule: ParsedRule, policy: AlertPolicy, excepted: ReadonlySet<string>): SettingId | undefined {
  const { facts } = rule;
  const reason = offReason(facts, policy);
  if (reason === 'disabledRule' || reason === 'minimumLevel') return SETTING_OF[reason];
  if (excepted.has(facts.id)) return 'detectionsExceptions';
  const isExcepted = Object.values(policy.exceptions).some(
    (each) => isNamed(facts, each.rule) && (isBroad(each) || isRequired(rule, each)),
  );
  return isExcepted ? 'detectionsExceptions' : undefined;
}

/** Whether a rule matches only events with the value of an exception, so that all its hits are excepted. */
function isRequired(rule: ParsedRule, { field, equals }: AlertException): boolean {
  const isIn = (expression: Expression): boolean => {
    switch (expression.is) {
      case 'and':
        return expression.of.some(isIn);
      case 'or':
        return expression.of.every(isIn);
      case 'field':
        return expression.field === field && isText(expression.test, equals ?? '');
      default:
        return false;
    }
  };
  return equals !== undefined && rule.is === 'detection' && isIn(rule.expression);
}

const isText = (test: Test, text: string): boolean => test.is === 'text' && test.place === 'is' && test.text === text;
