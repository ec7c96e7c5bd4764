import { isBroad } from '../contract/setting-kinds.ts';
import type { NameOfSetting, Settings } from '../contract/settings.ts';
import type { SettingFault } from '../contract/streams.ts';

/** A combination of settings that is applied although it is probably not what was meant (contract §2). */
export type SettingWarning = Pick<SettingFault, 'setting' | 'type' | 'message'>;

export function warningsOf(settings: Settings, nameOf: NameOfSetting): SettingWarning[] {
  const found: SettingWarning[] = [];
  const warn = (setting: SettingWarning['setting'], type: SettingWarning['type'], message: string) =>
    found.push({ setting, type, message });
  if (settings.maxMessageSizeInBytes % 4096 !== 0) {
    warn('maxMessageSizeInBytes', 'NotOptimal', 'is not a multiple of 4096, the unit in which the hub charges');
  }
  if (settings.maxLocalCacheSizeInBytes < settings.maxMessageSizeInBytes) {
    const message = `is smaller than ${nameOf('maxMessageSizeInBytes')}, so that no message can be filled`;
    warn('maxLocalCacheSizeInBytes', 'Conflict', message);
  }
  if (settings.highPriorityMessageFrequency > settings.lowPriorityMessageFrequency) {
    const message = `is longer than ${nameOf('lowPriorityMessageFrequency')}`;
    warn('highPriorityMessageFrequency', 'Conflict', message);
  }
  const { customChecksEnabled, customChecksFilePath, customChecksFileHash } = settings.baseline;
  if (customChecksEnabled && (customChecksFilePath === undefined || customChecksFileHash === undefined)) {
    const needed = `${nameOf('baseline.customChecksFilePath')} and ${nameOf('baseline.customChecksFileHash')}`;
    warn('baseline.customChecksEnabled', 'Conflict', `needs ${needed}; only default rules are evaluated`);
  }
  const { enabled, silencedUntil, exceptions, minimumLevel } = settings.detections;
  if (enabled && settings.priorities.SecurityAlert === 'Off') {
    const message = `is Off, so that alerts are only logged on the device; ${nameOf('detections.enabled')} is true`;
    warn('priorities.SecurityAlert', 'Conflict', message);
  }
  if (!enabled && silencedUntil !== '') {
    warn('detections.silencedUntil', 'Conflict', `has no effect while ${nameOf('detections.enabled')} is false`);
  }
  if (minimumLevel === 'critical') {
    warn('detections.minimumLevel', 'NotOptimal', 'is critical: nearly all built-in rules make no alerts');
  }
  const broad = Object.entries(exceptions).find(([, exception]) => isBroad(exception));
  if (broad !== undefined) {
    warn('detections.exceptions', 'NotOptimal', `has an exception for nearly everything: ${broad[0]}`);
  }
  return found;
}
