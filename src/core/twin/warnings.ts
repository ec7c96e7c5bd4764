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
  const { baselineCustomChecksFilePath: path, baselineCustomChecksFileHash: hash } = settings;
  if (settings.baselineCustomChecksEnabled && (path === undefined || hash === undefined)) {
    const needed = `${nameOf('baselineCustomChecksFilePath')} and ${nameOf('baselineCustomChecksFileHash')}`;
    warn('baselineCustomChecksEnabled', 'Conflict', `needs ${needed}; only default rules are evaluated`);
  }
  if (settings.detectionsEnabled && settings.priorities.SecurityAlert === 'Off') {
    const message = `is Off, so that alerts are only logged on the device; ${nameOf('detectionsEnabled')} is true`;
    warn('priorities.SecurityAlert', 'Conflict', message);
  }
  if (!settings.detectionsEnabled && settings.detectionsSilencedUntil !== '') {
    warn('detectionsSilencedUntil', 'Conflict', `has no effect while ${nameOf('detectionsEnabled')} is false`);
  }
  if (settings.detectionsMinimumLevel === 'critical') {
    warn('detectionsMinimumLevel', 'NotOptimal', 'is critical: nearly all built-in rules make no alerts');
  }
  const broad = Object.entries(settings.detectionsExceptions).find(([, exception]) => isBroad(exception));
  if (broad !== undefined) {
    warn('detectionsExceptions', 'NotOptimal', `has an exception for nearly everything: ${broad[0]}`);
  }
  return found;
}
