import { join, relative } from 'node:path';
import { isThere } from '../base/is-there.ts';

/**
 * The credential that systemd has handed over in a file's stead: the secret itself can belong to root then, and the agent
 * need not be able to read it. See LoadCredential= in systemd.exec(5).
 *
 * It is named as the file is, seen from the configuration's folder, with `_` for `/`: so does
 * `LoadCredential=secrets:/etc/vakt/secrets` call the file `secrets/module.key` beside `/etc/vakt/agent.json`. The same
 * configuration so serves root, who reads the file.
 *
 * @param path of the file, absolute
 * @returns `undefined` when systemd has handed over no such thing
 */
export function credentialFile(path: string, { configuration, credentials }: Folders): string | undefined {
  if (credentials === undefined) return undefined;
  const name = relative(configuration, path);
  if (name.startsWith('../')) return undefined;
  const file = join(credentials, name.replaceAll('/', '_'));
  return isThere(file) ? file : undefined;
}

/** Absolute paths. */
export interface Folders {
  /** The configuration file's. */
  readonly configuration: string;
  /** systemd's `CREDENTIALS_DIRECTORY`, if it has handed over any. */
  readonly credentials: string | undefined;
}
