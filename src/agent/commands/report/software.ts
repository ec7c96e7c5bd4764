import { statSync } from 'node:fs';
import { readBounded } from '../../../core/base/bounded-file.ts';
import { errnoOf, messageOf } from '../../../core/base/errors.ts';
import { inRoot } from '../../host/in-root.ts';
import { apkPackages, PACKAGE_DATABASES, RPM_FILES, RPM_FOLDERS, statusPackages } from '../../host/packages.ts';
import type { Fallible, Software } from './report.ts';

/** The status file of a desktop has 5 MB. */
const MAX_DATABASE_BYTES = 24 * 1024 * 1024;

/** The installed packages of a root, from the database of its package manager. */
export function software(root: string): Fallible<Software> {
  for (const { manager, paths } of PACKAGE_DATABASES) {
    const where = paths.find((path) => fileExists(root, path));
    if (where !== undefined) return packagesIn(root, manager, where);
  }
  const rpm = RPM_FOLDERS.find((folder) => RPM_FILES.some((name) => fileExists(root, `${folder}/${name}`)));
  return {
    problem:
      rpm === undefined
        ? 'No database of dpkg, opkg, apk or rpm was found: the software is not reported.'
        : `The packages of rpm in ${rpm} are not reported: their database can't be read without rpm. Use: rpm -qa`,
  };
}

function packagesIn(root: string, manager: string, where: string): Fallible<Software> {
  try {
    const text = readBounded(inRoot(root, where), MAX_DATABASE_BYTES);
    const versions = new Map<string, string>();
    for (const one of manager === 'apk' ? apkPackages(text) : statusPackages(text))
      if (one !== undefined) versions.set(one.name, one.version);
    if (versions.size === 0)
      return { problem: `${where} of ${manager} has no installed package: it is empty or damaged.` };
    const packages = [...versions].map(([name, version]) => ({ name, version }));
    return { manager, where, packages: packages.sort((a, b) => (a.name < b.name ? -1 : 1)) };
  } catch (error) {
    return { problem: `The packages in ${where} can't be read: ${errnoOf(error) ?? messageOf(error)}` };
  }
}

/** Anything but "no such file" counts: what cannot be read must be reported as such. */
function fileExists(root: string, path: string): boolean {
  try {
    return statSync(inRoot(root, path), { throwIfNoEntry: false }) !== undefined;
  } catch (error) {
    return errnoOf(error) !== 'ENOTDIR';
  }
}
