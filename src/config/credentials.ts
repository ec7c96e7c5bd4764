import { join, relative } from 'node:path';
import { exists } from '../base/exists.ts';

/**
 * The systemd credential that replaces a secret file. The file itself can then belong to root and be unreadable for the
 * agent. See LoadCredential= in systemd.exec(5).
 *
 * The credential's name is the file's path relative to the configuration's folder, with `_` for `/`: with
 * `LoadCredential=secrets:/etc/vakt/secrets`, `secrets_module.key` replaces `/etc/vakt/secrets/module.key`. So one
 * configuration serves the agent and root, who reads the file.
 *
 * @param path of the file, absolute
 * @returns `undefined` when systemd passes no such credential
 */
export function credentialFile(path: string, { configuration, credentials }: Folders): string | undefined {
  if (credentials === undefined) return undefined;
  const name = relative(configuration, path);
  if (name.startsWith('../')) return undefined;
  const file = join(credentials, name.replaceAll('/', '_'));
  return exists(file) ? file : undefined;
}

/** Absolute paths. */
export interface Folders {
  /** Where the configuration file is. */
  readonly configuration: string;
  /** systemd's `CREDENTIALS_DIRECTORY`; `undefined` when it passes no credentials. */
  readonly credentials: string | undefined;
}
