import type { Unreadable } from '../../host/host-files.ts';
import type { Access } from '../access.ts';

/** The part of `Access` that is needed here. */
type Needs = Pick<Access, 'files' | 'pace'>;

/** The value of a kernel parameter that a file sets at boot. */
export interface Persisted {
  readonly value: string;
  /** File and line. */
  readonly where: string;
}

/** By key, with dots. */
export interface PersistedSysctls {
  readonly settings: ReadonlyMap<string, Persisted>;
  /** A file or folder that could not be read, and may set other values. */
  readonly unreadable?: Unreadable;
}

/** Folders in order of precedence. If several have a file of the same name, only the first one is read, see sysctl.d(5). */
const FOLDERS = ['/etc/sysctl.d', '/run/sysctl.d', '/usr/local/lib/sysctl.d', '/usr/lib/sysctl.d', '/lib/sysctl.d'];
/** Read last by sysctl --system. systemd-sysctl reads it only where it is linked from sysctl.d. */
const LAST = '/etc/sysctl.conf';
const SYSTEMD_SYSCTL = ['/usr/lib/systemd/systemd-sysctl', '/lib/systemd/systemd-sysctl'];
const MAX_BYTES = 64 * 1024;
const MAX_FILES = 500;

/**
 * The values that the files set, by key with dots; the last one counts. Patterns in keys (`net.*.forwarding`) are not
 * resolved.
 */
export async function readPersisted(access: Needs): Promise<PersistedSysctls> {
  const { paths: files, unreadable } = access.files.dropIns(FOLDERS.map((folder) => `${folder}/*.conf`));
  let problem = unreadable;
  if (files.length > MAX_FILES)
    problem ??= { unreadable: `there are more than ${MAX_FILES} files in sysctl.d`, denied: false };
  const isOfSystemd = SYSTEMD_SYSCTL.some((path) => access.files.exists(path));
  const settings = new Map<string, Persisted>();
  for (const path of [...files.slice(-MAX_FILES), ...(isOfSystemd ? [] : [LAST])]) {
    const look = access.files.text(path, MAX_BYTES);
    await access.pace();
    if ('unreadable' in look) problem ??= look;
    if (!('found' in look)) continue;
    for (const [index, line] of look.found.split('\n').entries()) {
      const match = /^\s*-?([A-Za-z0-9][\w./-]*)\s*=(.*)$/s.exec(line.slice(0, 1_024));
      if (match?.[1] === undefined || match[2] === undefined) continue;
      settings.set(match[1].replaceAll('/', '.'), { value: match[2].trim(), where: `${path}:${index + 1}` });
    }
  }
  return problem === undefined ? { settings } : { settings, unreadable: problem };
}
