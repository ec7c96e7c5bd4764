import { lstatSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { readNamedFile, readPlainFile } from '../../../core/base/plain-file.ts';
import { credentialFilesOf, type LocalSettings } from '../../config/local.ts';
import type { LocalStatus } from '../../status/schema.ts';
import { wrong } from './finding.ts';
import type { Check } from './situation.ts';

const NAME = 'copies of secrets';
/** As much as the agent reads of a certificate. */
const MAX_FILE_BYTES = 64 * 1024;

/** Where systemd makes the copies, in a folder for each service. Only root can write there. */
export const CREDENTIALS = '/run/credentials';

/**
 * Whether the running agent uses its secrets as they are: systemd copies them only when it starts the service. For another
 * local file than the agent's, it will be restarted.
 */
export const copies: Check = {
  name: NAME,
  run({ local, agent, credentials }) {
    return [...copiesUsedBy(agent.statusByThisFile, local)]
      .filter(([file, copy]) => isNewer(file, copy, credentials))
      .map(([file]) => wrong(NAME, `the service uses an older copy of ${file}`, 'Run: systemctl restart vakt'));
  },
};

/** By file, the copies that a running agent uses of the configuration's secrets and certificates. */
export function copiesUsedBy(status: LocalStatus | undefined, local: LocalSettings): ReadonlyMap<string, string> {
  const files = credentialFilesOf(local);
  return new Map(Object.entries(status?.hub?.copies ?? {}).filter(([file]) => files.includes(file)));
}

/**
 * Whether a file changed after its copy was made, and has different contents. An encrypted file (LoadCredentialEncrypted=)
 * always differs. If one of the two can't be read, the result is unknown. The process that answers as the agent names the
 * copy, so anything that systemd would not create, such as a device, is not opened.
 */
function isNewer(file: string, copy: string, credentials: string): boolean {
  try {
    if (!resolve(copy).startsWith(`${credentials}/`)) return false;
    const stats = lstatSync(copy);
    if (!stats.isFile() || statSync(file).ctimeMs <= stats.mtimeMs) return false;
    return readNamedFile(file, MAX_FILE_BYTES) !== readPlainFile(copy, MAX_FILE_BYTES);
  } catch {
    return false;
  }
}
