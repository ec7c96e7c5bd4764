import type { Unreadable } from '../../host/host-files.ts';
import {
  apkPackages,
  type InstalledPackage,
  PACKAGE_DATABASES,
  RPM_FILES,
  RPM_FOLDERS,
  statusPackages,
} from '../../host/packages.ts';
import type { Access } from '../access.ts';

/** The part of `Access` that is needed here. */
type Needs = Pick<Access, 'files' | 'pace'>;

const MAX_BYTES = 24 * 1024 * 1024;

/** A package manager's database. */
interface PackageDatabase {
  readonly manager: string;
  readonly path: string;
}

/** The installed packages, or why they cannot be determined. */
export type Packages =
  | { readonly manager: string; readonly where: string; readonly versions: ReadonlyMap<string, string> }
  | { readonly manager: string; readonly where: string; readonly problem: Unreadable };

/** @returns the package database; `undefined` if none exists */
export function findPackageManager({ files }: Needs): PackageDatabase | undefined {
  for (const { manager, paths } of PACKAGE_DATABASES) {
    const path = paths.find((each) => files.mayBeThere(each));
    if (path !== undefined) return { manager, path };
  }
  const folder = RPM_FOLDERS.find((each) => RPM_FILES.some((name) => files.mayBeThere(`${each}/${name}`)));
  return folder === undefined ? undefined : { manager: 'rpm', path: folder };
}

/** Reads it. @returns `undefined` when there is none */
export async function readPackages(
  database: PackageDatabase | undefined,
  access: Needs,
): Promise<Packages | undefined> {
  if (database === undefined) return undefined;
  const { manager, path: where } = database;
  if (manager === 'rpm')
    return { manager, where, problem: { unreadable: "rpm's database can't be read without rpm", denied: false } };
  const look = access.files.text(where, MAX_BYTES);
  if ('unreadable' in look) return { manager, where, problem: look };
  const content = 'found' in look ? look.found : '';
  if (!/^P(?:ackage)?:/m.test(content))
    return { manager, where, problem: { unreadable: `${where} lists no packages`, denied: false } };
  return {
    manager,
    where,
    versions: await versionsIn(manager === 'apk' ? apkPackages(content) : statusPackages(content), access),
  };
}

/**
 * @returns the first version of one of the packages; `undefined` if none is installed, or if that cannot be determined
 */
export function versionOf(names: readonly string[], packages: Packages | undefined): string | undefined {
  if (packages === undefined || !('versions' in packages)) return undefined;
  return names.map((name) => packages.versions.get(name)).find((version) => version !== undefined);
}

/** Compares the numbers of the program: `1:9.2p1-2` is 9.2. @returns `undefined` if they are not known */
export function isAtLeast(version: string | undefined, least: string): boolean | undefined {
  const numbers = /^(?:\d+:)?(\d+(?:\.\d+)*)/
    .exec(version ?? '')?.[1]
    ?.split('.')
    .map(Number);
  if (numbers === undefined) return undefined;
  const required = least.split('.').map(Number);
  const at = required.findIndex((part, index) => part !== (numbers[index] ?? 0));
  return at === -1 || (numbers[at] ?? 0) > (required[at] ?? 0);
}

async function versionsIn(
  packages: Iterable<InstalledPackage | undefined>,
  access: Needs,
): Promise<ReadonlyMap<string, string>> {
  const versions = new Map<string, string>();
  let count = 0;
  for (const installed of packages) {
    if (installed !== undefined) versions.set(installed.name, installed.version);
    if (++count % 100 === 0) await access.pace();
  }
  return versions;
}
