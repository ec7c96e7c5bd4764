import { statSync } from 'node:fs';
import { hostname, release as kernelRelease, machine } from 'node:os';
import { hostMount, inRoot } from '../../base/in-root.ts';
import type { SystemFacts } from '../../contract/sources.ts';
import { readOptional } from '../../host/bounded-file.ts';
import { mountedOn } from '../../host/mounts.ts';
import { OS_RELEASE_FILES, type OsRelease, parseOsRelease } from '../../host/os-release.ts';
import { readable } from '../../host/readable.ts';
import { parseUevent } from '../../host/sysfs.ts';
import { firmwareFacts } from './firmware.ts';
import { container, hypervisor } from './virtualization.ts';

const MOST_BYTES = 64 * 1024;
/** Thirty thousand mounts. */
const MOST_MOUNT_BYTES = 4 * 1024 * 1024;

/**
 * The device that `root=` of the kernel's command line names, in the kernel's own spelling (`/dev/sda1`,
 * `PARTUUID=…`). Words behind `--` are init's, not the kernel's. See bootparam(7).
 */
export function rootParameter(commandLine: string): string | undefined {
  const [kernels = ''] = commandLine.trim().split(/\s--(?:\s|$)/);
  const values = [...kernels.matchAll(/(?:^|\s)"?root=("[^"]*"|[^\s"]+)/g)].map(([, value = '']) =>
    value.replaceAll('"', ''),
  );
  return values.at(-1) || undefined;
}

/**
 * The device the system was started from: as the kernel was told, when that is a device's name; else what is mounted as
 * root, when that is; else the device that root lies on; else what the kernel was told. `/dev/root` is a name of the
 * kernel's that no device has.
 */
export function bootDevice(told: string | undefined, ...others: (string | undefined)[]): string | undefined {
  return [told, ...others].find((name) => name?.startsWith('/dev/') && name !== '/dev/root') ?? told;
}

/** The block device that a folder's file system is on, by its number; `undefined` when it is on none, or on several. */
function deviceOf(folder: string, sys: string): string | undefined {
  const device = statSync(folder, { bigint: true, throwIfNoEntry: false })?.dev;
  if (device === undefined) return undefined;
  // gnu_dev_major() and gnu_dev_minor() of sys/sysmacros.h
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn);
  const minor = (device & 0xffn) | ((device >> 12n) & ~0xffn);
  const { DEVNAME } = parseUevent(readOptional(`${sys}/dev/block/${major}:${minor}/uevent`, MOST_BYTES) ?? '');
  return DEVNAME === undefined ? undefined : `/dev/${DEVNAME}`;
}

type Memory = Pick<
  SystemFacts,
  'totalPhysicalMemoryInKB' | 'freePhysicalMemoryInKB' | 'totalVirtualMemoryInKB' | 'freeVirtualMemoryInKB'
>;

/**
 * Memory from the text of /proc/meminfo, whose lines read `MemTotal:       24684084 kB` and mean 1024 bytes, see
 * proc_meminfo(5). Free means unused by anyone, caches included, as MemFree.
 */
export function memoryFacts(meminfo: string): Memory {
  const figures = new Map<string, number>();
  for (const [, name = '', kB] of meminfo.matchAll(/^(\w+): +(\d{1,15}) kB$/gm)) figures.set(name, Number(kB));
  const total = (...names: string[]) => {
    const parts = names.map((name) => figures.get(name));
    return parts.includes(undefined) ? undefined : parts.reduce<number>((all, part) => all + (part ?? 0), 0);
  };
  return known({
    totalPhysicalMemoryInKB: total('MemTotal'),
    freePhysicalMemoryInKB: total('MemFree'),
    totalVirtualMemoryInKB: total('MemTotal', 'SwapTotal'),
    freeVirtualMemoryInKB: total('MemFree', 'SwapFree'),
  });
}

/**
 * Reads everything there is to know of the machine. A fact that can't be had is left out; never rejects.
 *
 * @param from `hostRoot` is where the host's root is seen; the others are for tests
 */
export async function systemFacts({
  hostRoot,
  proc = hostMount(hostRoot, 'proc'),
  sys = hostMount(hostRoot, 'sys'),
  ownRoot = '/',
}: {
  hostRoot: string;
  proc?: string;
  sys?: string;
  ownRoot?: string;
}): Promise<SystemFacts> {
  const release = osRelease(hostRoot);
  const told = rootParameter(readOptional(`${proc}/cmdline`, MOST_BYTES) ?? '');
  // Of this process: in a container, the host's root is mounted on hostRoot there.
  const mounts = readOptional(`${ownRoot}/proc/mounts`, MOST_MOUNT_BYTES) ?? '';
  return {
    ...known({
      osName: release.NAME,
      osVersion: release.VERSION_ID ?? release.VERSION ?? release.BUILD_ID,
      osVendor: release.VENDOR_NAME ?? release.ID,
      ...firmwareFacts(sys),
      kernelVersion: kernelRelease(),
      hypervisor: hypervisor({ proc, sys }),
      container: container(ownRoot),
      bootDevice: bootDevice(told, mountedOn(hostRoot, mounts), deviceOf(hostRoot, sys)),
    }),
    architecture: machine(),
    hostName: hostNameOf(hostRoot) ?? hostname(),
    ...memoryFacts(readOptional(`${proc}/meminfo`, MOST_BYTES) ?? ''),
  };
}

/** The host's, not the container's. */
function osRelease(hostRoot: string): OsRelease {
  const [first] = OS_RELEASE_FILES.flatMap((path) => hostFile(hostRoot, path) ?? []);
  return parseOsRelease(first ?? '');
}

/** The name in hostname(5): in a container the kernel tells the container's. */
function hostNameOf(hostRoot: string): string | undefined {
  if (hostRoot === '/') return undefined;
  const lines = (hostFile(hostRoot, 'etc/hostname') ?? '').split('\n');
  return readable(lines.find((line) => /^[^#\s]/.test(line)) ?? '');
}

function hostFile(hostRoot: string, path: string): string | undefined {
  try {
    return readOptional(inRoot(hostRoot, path), MOST_BYTES);
  } catch {
    return undefined;
  }
}

/** Without what is undefined or empty. */
const known = <T extends object>(facts: T): { [K in keyof T]?: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== undefined && value !== '')) as never;
