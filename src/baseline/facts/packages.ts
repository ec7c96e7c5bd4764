import type { Unreadable } from '../../host/host-files.ts';
import type { System } from '../system.ts';

/** Where each package manager says what is installed. */
const DATABASES = [
  { manager: 'dpkg', paths: ['/var/lib/dpkg/status'] },
  { manager: 'opkg', paths: ['/usr/lib/opkg/status', '/var/lib/opkg/status'] },
  { manager: 'apk', paths: ['/lib/apk/db/installed', '/usr/lib/apk/db/installed'] },
] as const;
/** SQLite, ndb and Berkeley DB: not read. */
const RPM = ['/usr/lib/sysimage/rpm', '/var/lib/rpm'];
const RPM_FILES = ['rpmdb.sqlite', 'Packages.db', 'Packages'];

const MOST_BYTES = 24 * 1024 * 1024;

/** What is installed, or why nobody can say. */
export type Packages =
  | { readonly manager: string; readonly where: string; readonly versions: ReadonlyMap<string, string> }
  | { readonly manager: string; readonly where: string; readonly problem: Unreadable };

/** Of dpkg's states, those in which a package's files are there, or some of them. */
const HAS_FILES = /^Status:.* (?:installed|unpacked|half-installed|half-configured|triggers-\w+)\s*$/m;

/** @returns the data base that is there, and where; `undefined`: there is none */
export function findPackageManager({ files }: System): { manager: string; path: string } | undefined {
  for (const { manager, paths } of DATABASES) {
    const path = paths.find((each) => files.mayBeThere(each));
    if (path !== undefined) return { manager, path };
  }
  const folder = RPM.find((each) => RPM_FILES.some((name) => files.mayBeThere(`${each}/${name}`)));
  return folder === undefined ? undefined : { manager: 'rpm', path: folder };
}

/** Reads it. @returns `undefined` when there is none */
export async function readPackages(system: System): Promise<Packages | undefined> {
  const database = system.packageManager();
  if (database === undefined) return undefined;
  const { manager, path: where } = database;
  if (manager === 'rpm')
    return { manager, where, problem: { unreadable: "rpm's data base can't be read without rpm", denied: false } };
  const look = system.files.text(where, MOST_BYTES);
  if ('unreadable' in look) return { manager, where, problem: look };
  const content = 'found' in look ? look.found : '';
  return { manager, where, versions: await (manager === 'apk' ? readApk : readStatus)(content, system) };
}

/**
 * Paragraphs as dpkg and opkg write them. Those whose files are there count, also while they wait for their configuration;
 * see dpkg(1).
 *
 *     Package: adduser
 *     Status: install ok installed
 *     Version: 3.134
 */
async function readStatus(content: string, system: System): Promise<ReadonlyMap<string, string>> {
  const versions = new Map<string, string>();
  for (let begin = 0; begin < content.length; ) {
    const blank = content.indexOf('\n\n', begin);
    const end = blank === -1 ? content.length : blank;
    const paragraph = content.slice(begin, Math.min(end, begin + 2_048));
    const name = /^Package:[ \t]*(\S+)/m.exec(paragraph)?.[1];
    if (name !== undefined && HAS_FILES.test(paragraph))
      versions.set(name, /^Version:[ \t]*(\S+)/m.exec(content.slice(begin, end))?.[1] ?? '');
    begin = end + 2;
    await system.pace();
  }
  return versions;
}

/** Paragraphs of one-letter fields, see apk-db(5): `P:` the name, `V:` the version. */
async function readApk(content: string, system: System): Promise<ReadonlyMap<string, string>> {
  const versions = new Map<string, string>();
  let name = '';
  let count = 0;
  for (let begin = 0; begin < content.length; ) {
    const newline = content.indexOf('\n', begin);
    const end = newline === -1 ? content.length : newline;
    if (content.startsWith('P:', begin)) {
      name = content.slice(begin + 2, end);
      versions.set(name, '');
    } else if (content.startsWith('V:', begin) && name !== '') versions.set(name, content.slice(begin + 2, end));
    begin = end + 1;
    if (++count % 1_000 === 0) await system.pace();
  }
  return versions;
}
