/** Where each package manager says what is installed. */
export const PACKAGE_DATABASES = [
  { manager: 'dpkg', paths: ['/var/lib/dpkg/status'] },
  { manager: 'opkg', paths: ['/usr/lib/opkg/status', '/var/lib/opkg/status'] },
  { manager: 'apk', paths: ['/lib/apk/db/installed', '/usr/lib/apk/db/installed'] },
] as const;
/** SQLite, ndb and Berkeley DB: not read. */
export const RPM_FOLDERS = ['/usr/lib/sysimage/rpm', '/var/lib/rpm'] as const;
export const RPM_FILES = ['rpmdb.sqlite', 'Packages.db', 'Packages'] as const;

/** What is installed. */
export interface InstalledPackage {
  readonly name: string;
  /** '' when it isn't written down. */
  readonly version: string;
}

/** Of dpkg's states, those in which a package's files are there, or some of them. */
const HAS_FILES = /^Status:.* (?:installed|unpacked|half-installed|half-configured|triggers-\w+)\s*$/m;

/**
 * Paragraphs as dpkg and opkg write them. Those whose files are there count, also while they wait for their configuration;
 * see dpkg(1). `undefined` for a paragraph that is no such package: a caller may let others go on after each.
 *
 *     Package: adduser
 *     Status: install ok installed
 *     Version: 3.134
 */
export function* statusPackages(content: string): Generator<InstalledPackage | undefined> {
  for (let begin = 0; begin < content.length; ) {
    const blank = content.indexOf('\n\n', begin);
    const end = blank === -1 ? content.length : blank;
    const paragraph = content.slice(begin, Math.min(end, begin + 2_048));
    const name = /^Package:[ \t]*(\S+)/m.exec(paragraph)?.[1];
    if (name === undefined || !HAS_FILES.test(paragraph)) yield undefined;
    else yield { name, version: /^Version:[ \t]*(\S+)/m.exec(content.slice(begin, end))?.[1] ?? '' };
    begin = end + 2;
  }
}

/** Paragraphs of one-letter fields, see apk-db(5): `P:` the name, `V:` the version; of several versions the last. */
export function* apkPackages(content: string): Generator<InstalledPackage | undefined> {
  let name = '';
  for (let begin = 0; begin < content.length; ) {
    const newline = content.indexOf('\n', begin);
    const end = newline === -1 ? content.length : newline;
    if (content.startsWith('P:', begin)) {
      name = content.slice(begin + 2, end);
      yield { name, version: '' };
    } else if (content.startsWith('V:', begin) && name !== '') yield { name, version: content.slice(begin + 2, end) };
    else yield undefined;
    begin = end + 1;
  }
}
