import { join } from 'node:path';
import { readPlainFile } from '../base/plain-file.ts';

/** The file in the state directory that keeps the last configuration from the module twin that was valid. */
export const LAST_GOOD_FILE = 'last-good-configuration.json';

/** In bytes. A whole twin has 64 KiB at most. */
const MAX_CONFIGURATION_BYTES = 256 * 1024;

/**
 * What that file contains. It is untrusted: the agent's user owns it.
 *
 * @throws NotPlainError, the file system's errors, or SyntaxError if it is not JSON
 */
export const readLastGood = (stateDirectory: string): { readonly configuration?: unknown } =>
  JSON.parse(readPlainFile(join(stateDirectory, LAST_GOOD_FILE), MAX_CONFIGURATION_BYTES));
