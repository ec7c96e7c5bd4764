import * as v from 'valibot';
import { AgentError } from '../../core/base/errors.ts';
import { LocalSettings, readLocalSettings } from '../config/local.ts';

/** Without a configuration file, the defaults apply: commands that only look must work without an installed agent. */
export function settingsOrDefaults(
  file: string | undefined,
  environment: NodeJS.ProcessEnv,
): Pick<LocalSettings, 'hostRoot' | 'controlSocket' | 'collectors'> {
  try {
    return readLocalSettings(file, environment);
  } catch (error) {
    const isNotConfigured = error instanceof AgentError && error.id === 'CONFIG_FILE_MISSING' && file === undefined;
    if (!isNotConfigured) throw error;
    const { hostRoot, controlSocket, collectors: options } = LocalSettings.entries;
    return v.parse(v.object({ hostRoot, controlSocket, collectors: options }), {});
  }
}
