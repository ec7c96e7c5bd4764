import { isBroad } from '../../../core/contract/setting-kinds.ts';
import type { SettingId } from '../../../core/contract/settings.ts';
import type { Expression, ParsedRule, Test } from '../sigma/rule.ts';
import { type AlertException, type AlertPolicy, isBelow, isNamed, offReason } from './policy.ts';

const SETTING_OF = { disabledRule: 'detections.disabledRules', minimumLevel: 'detections.minimumLevel' } as const;

/** Rules of level high or critical that the module twin silences. */
export interface SilencedRules {
  /** The setting that silences most of them. */
  readonly setting: SettingId;
  readonly silenced: number;
  /** With those that aren't silenced. */
  readonly all: number;
  /** How many of them exceptions silence; the setting doesn't show that. */
  readonly byExceptions: number;
}

/**
 * Which rules of level high or critical make no alert, since they are disabled, below the minimum level, or excepted where
 * nearly everything matches, or where all hits of the rule do.
 *
 * @param excepted ids of rules whose attacks the exceptions silence together, see ExceptionEffect
 * @returns `undefined` when it is none
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
  const byExceptions = times('detections.exceptions');
  return { setting, silenced: settings.length, all: important.length, byExceptions };
}

function silencing(rule: ParsedRule, policy: AlertPolicy, excepted: ReadonlySet<string>): SettingId | undefined {
  const { facts } = rule;
  const reason = offReason(facts, policy);
  if (reason === 'disabledRule' || reason === 'minimumLevel') return SETTING_OF[reason];
  if (excepted.has(facts.id)) return 'detections.exceptions';
  const isExcepted = Object.values(policy.exceptions).some(
    (each) => isNamed(facts, each.rule) && (isBroad(each) || isRequired(rule, each)),
  );
  return isExcepted ? 'detections.exceptions' : undefined;
}

/** Whether a rule matches only events that have the value of an exception: all its hits are excepted then. */
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
