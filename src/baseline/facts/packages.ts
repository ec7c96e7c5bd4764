import type { Unreadable } from '../../host/host-files.ts';
import {
  apkPackages,
  type InstalledPackage,
  PACKAGE_DATABASES,
  RPM_FILES,
  RPM_FOLDERS,
  statusPackages,
} from '../../host/packages.ts';
import type { System } from '../system.ts';

const MOST_BYTES = 24 * 1024 * 1024;

/** What is installed, or why nobody can say. */
export type Packages =
  | { readonly manager: string; readonly where: string; readonly versions: ReadonlyMap<string, string> }
  | { readonly manager: string; readonly where: string; readonly problem: Unreadable };

/** @returns the data base that is there, and where; `undefined`: there is none */
export function findPackageManager({ files }: System): { manager: string; path: string } | undefined {
  for (const { manager, paths } of PACKAGE_DATABASES) {
    const path = paths.find((each) => files.mayBeThere(each));
    if (path !== undefined) return { manager, path };
  }
  const folder = RPM_FOLDERS.find((each) => RPM_FILES.some((name) => files.mayBeThere(`${each}/${name}`)));
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
  return {
    manager,
    where,
    versions: await versionsIn(manager === 'apk' ? apkPackages(content) : statusPackages(content), system),
  };
}

async function versionsIn(
  packages: Iterable<InstalledPackage | undefined>,
  system: System,
): Promise<ReadonlyMap<string, string>> {
  const versions = new Map<string, string>();
  let count = 0;
  for (const installed of packages) {
    if (installed !== undefined) versions.set(installed.name, installed.version);
    if (++count % 100 === 0) await system.pace();
  }
  return versions;
}
