import { readdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { readNamedFile } from '../../../core/base/plain-file.ts';
import { filesOf, readLocalSettings } from '../../config/local.ts';
import { secretLinesOf } from '../../identity/certificate-file.ts';

/** Maximum size of one secret file. */
const MAX_FILE_BYTES = 64 * 1024;
/** Maximum number of files in the folder `secrets` next to the configuration. */
const MAX_FILES = 100;

/**
 * What no text of the archive may contain: the contents of all secret files of the configuration that this user can read, and
 * of the folder `secrets` beside it, which are known even if the configuration is invalid.
 */
export function knownSecrets(configFile: string, environment: NodeJS.ProcessEnv): string[] {
  const paths = new Set([
    ...configured(configFile, environment),
    ...inFolder(join(dirname(resolve(configFile)), 'secrets')),
  ]);
  return [...paths].flatMap(secretsIn);
}

function configured(configFile: string, environment: NodeJS.ProcessEnv): readonly string[] {
  try {
    return filesOf(readLocalSettings(configFile, environment), configFile).secrets;
  } catch {
    return []; // the finding "configuration" of check.txt says why
  }
}

function inFolder(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
      .slice(0, MAX_FILES)
      .map((name) => join(folder, name));
  } catch {
    return [];
  }
}

/** The whole text, its lines, and the values of `Name=value;Name=value`. Lines of certificates count, too: that is harmless. */
function secretsIn(path: string): string[] {
  try {
    const text = readNamedFile(path, MAX_FILE_BYTES).trim();
    const values = [...text.matchAll(/(?:^|;)\s*(?:SharedAccessKey|SharedAccessSignature)=([^;\s]+)/gi)];
    const isPem = text.includes('-----BEGIN');
    return [text, ...(isPem ? secretLinesOf(text) : []), ...values.map(([, value = '']) => value)];
  } catch {
    return []; // what this user cannot read, this command cannot put into the archive either
  }
}
