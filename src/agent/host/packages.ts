/** Where each package manager keeps its list of installed packages. */
export const PACKAGE_DATABASES = [
  { manager: 'dpkg', paths: ['/var/lib/dpkg/status'] },
  { manager: 'opkg', paths: ['/usr/lib/opkg/status', '/var/lib/opkg/status'] },
  { manager: 'apk', paths: ['/lib/apk/db/installed', '/usr/lib/apk/db/installed'] },
] as const;
/** The SQLite, ndb and Berkeley DB formats are not read. */
export const RPM_FOLDERS = ['/usr/lib/sysimage/rpm', '/var/lib/rpm'] as const;
export const RPM_FILES = ['rpmdb.sqlite', 'Packages.db', 'Packages'] as const;

/** An installed package. */
export interface InstalledPackage {
  readonly name: string;
  /** '' when it is not recorded. */
  readonly version: string;
}

/** The dpkg states in which at least some of a package's files are present. */
const HAS_FILES = /^Status:.* (?:installed|unpacked|half-installed|half-configured|triggers-\w+)\s*$/m;

/** The longest paragraphs, of metapackages and of packages with many settings, have about 20 KB. */
const MAX_PARAGRAPH = 64 * 1024;

/**
 * Parses the status file of dpkg and opkg. Packages whose files are present count, even if they are not configured yet;
 * see dpkg(1). Yields `undefined` for other paragraphs, so that a caller can yield to the event loop after each.
 *
 *     Package: adduser
 *     Status: install ok installed
 *     Version: 3.134
 */
export function* statusPackages(content: string): Generator<InstalledPackage | undefined> {
  for (let begin = 0; begin < content.length; ) {
    const blank = content.indexOf('\n\n', begin);
    const end = blank === -1 ? content.length : blank;
    const paragraph = content.slice(begin, Math.min(end, begin + MAX_PARAGRAPH));
    const name = /^Package:[ \t]*(\S+)/m.exec(paragraph)?.[1];
    if (name === undefined || !HAS_FILES.test(paragraph)) yield undefined;
    else yield { name, version: /^Version:[ \t]*(\S+)/m.exec(paragraph)?.[1] ?? '' };
    begin = end + 2;
  }
}

/** Parses apk's database of one-letter fields, see apk-db(5): `P:` the name, `V:` the version; the last version holds. */
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
