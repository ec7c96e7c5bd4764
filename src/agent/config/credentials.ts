import { join, relative } from 'node:path';
import { exists } from '../../core/base/paths.ts';

/**
 * systemd's copies of secret files, by file; a file without one is left out. The files themselves can belong to root, and be
 * unreadable for the agent. See LoadCredential= in systemd.exec(5).
 *
 * A copy's name is the file's path relative to the configuration's folder, with `_` for `/`: with
 * `LoadCredential=secrets:/etc/vakt/secrets`, `secrets_module.key` is the copy of `/etc/vakt/secrets/module.key`. So one
 * configuration serves the agent and root, who reads the file.
 *
 * @param files absolute paths
 */
export function copiesOf(files: readonly string[], { configuration, credentials }: Folders): Map<string, string> {
  if (credentials === undefined) return new Map();
  const named = files
    .map((file) => [file, relative(configuration, file)] as const)
    .filter(([, name]) => !name.startsWith('../'))
    .map(([file, name]) => [file, join(credentials, name.replaceAll('/', '_'))] as const);
  return new Map(named.filter(([, copy]) => exists(copy)));
}

/** Absolute paths. */
interface Folders {
  /** Where the configuration file is. */
  readonly configuration: string;
  /** systemd's `CREDENTIALS_DIRECTORY`; `undefined` when it passes no credentials. */
  readonly credentials: string | undefined;
}
