import { isBroad } from '../../contract/setting-kinds.ts';
import type { SettingId } from '../../contract/settings.ts';
import type { ParsedRule } from '../sigma/rule.ts';
import { type AlertPolicy, isBelow, isNamed, offReason } from './policy.ts';

const SETTING_OF = { disabledRule: 'detections.disabledRules', minimumLevel: 'detections.minimumLevel' } as const;

/**
 * Whether the module twin silences every rule of level high or critical.
 *
 * @returns the setting that silences the last of them; `undefined` when one is left, or when there is none
 */
export function silencingSetting(rules: readonly ParsedRule[], policy: AlertPolicy): SettingId | undefined {
  let setting: SettingId | undefined;
  for (const { facts } of rules) {
    if (!facts.alerts || isBelow(facts.level, 'high')) continue;
    const reason = offReason(facts, policy);
    if (reason === 'disabledRule' || reason === 'minimumLevel') setting = SETTING_OF[reason];
    else if (Object.values(policy.exceptions).some((each) => isNamed(facts, each.rule) && isBroad(each)))
      setting = 'detections.exceptions';
    else return undefined;
  }
  return setting;
}
