import type { Logger } from '../../core/base/log.ts';
import type { Collector } from '../../core/contract/collector.ts';
import type { NameOfSetting, SettingsReader } from '../../core/contract/settings.ts';
import { blindSpots, type Limits } from '../../core/twin/limits.ts';

/** Logs each change of what the configuration in force switches off or delays beyond the local limits. */
export function logBlindSpots(options: {
  readonly settings: SettingsReader;
  readonly limits: Limits;
  readonly collectors: readonly Collector[];
  readonly nameOf: NameOfSetting;
  readonly log: Logger;
}): void {
  const { settings, limits, collectors, nameOf, log } = options;
  let logged = '{}';
  const look = () => {
    const { degrading } = blindSpots(settings.current(), limits, collectors, nameOf);
    const text = JSON.stringify(degrading);
    if (text === logged) return;
    logged = text;
    if (text !== '{}')
      log.warn(
        { because: degrading },
        'The module twin switches off or delays events beyond the local limits; the agent is degraded.',
      );
    else log.info('The module twin is within the local limits again.');
  };
  settings.onChange(look);
  look();
}
