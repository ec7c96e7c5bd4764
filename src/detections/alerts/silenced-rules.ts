import { isBroad } from '../../contract/setting-kinds.ts';
import type { SettingId } from '../../contract/settings.ts';
import type { ParsedRule } from '../sigma/rule.ts';
import { type AlertPolicy, isBelow, isNamed, offReason } from './policy.ts';

const SETTING_OF = { disabledRule: 'detections.disabledRules', minimumLevel: 'detections.minimumLevel' } as const;

/** Rules of level high or critical that the module twin silences. */
export interface SilencedRules {
  /** The setting that silences most of them. */
  readonly setting: SettingId;
  readonly silenced: number;
  /** With those that aren't silenced. */
  readonly all: number;
}

/**
 * Which rules of level high or critical make no alert, since they are disabled, below the minimum level, or excepted where nearly
 * everything matches.
 *
 * @returns `undefined` when it is none
 */
export function silencedRules(rules: readonly ParsedRule[], policy: AlertPolicy): SilencedRules | undefined {
  const important = rules.filter(({ facts }) => facts.alerts && !isBelow(facts.level, 'high'));
  const settings = important.map((rule) => silencing(rule, policy)).filter((setting) => setting !== undefined);
  const times = (setting: SettingId) => settings.filter((each) => each === setting).length;
  const [setting] = [...new Set(settings)].sort((a, b) => times(b) - times(a));
  return setting === undefined ? undefined : { setting, silenced: settings.length, all: important.length };
}

function silencing({ facts }: ParsedRule, policy: AlertPolicy): SettingId | undefined {
  const reason = offReason(facts, policy);
  if (reason === 'disabledRule' || reason === 'minimumLevel') return SETTING_OF[reason];
  const isExcepted = Object.values(policy.exceptions).some((each) => isNamed(facts, each.rule) && isBroad(each));
  return isExcepted ? 'detections.exceptions' : undefined;
}
