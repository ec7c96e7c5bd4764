import { join } from 'node:path';
import { readStateJson } from '../state/read-state.ts';

/** The file in the state directory that keeps the last configuration from the module twin that was valid. */
export const LAST_GOOD_FILE = 'last-good-configuration.json';

/**
 * What that file contains. It is untrusted: the agent's user owns it.
 *
 * @returns without a configuration if there is no such file
 * @throws as `readStateJson`
 */
export const readLastGood = (stateDirectory: string): { readonly configuration?: unknown } =>
  readStateJson(join(stateDirectory, LAST_GOOD_FILE), (value) => ({ ...(value as object) })) ?? {};
