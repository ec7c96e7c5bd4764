import { statSync } from 'node:fs';
import { hostname, release as kernelRelease, machine } from 'node:os';
import { hostMount, inRoot } from '../../base/in-root.ts';
import type { SystemFacts } from '../../contract/sources.ts';
import { readOptional } from '../../host/bounded-file.ts';
import { deviceNumber } from '../../host/device-number.ts';
import { mountedOn } from '../../host/mounts.ts';
import { OS_RELEASE_FILES, type OsRelease, parseOsRelease } from '../../host/os-release.ts';
import { readable } from '../../host/readable.ts';
import { parseUevent } from '../../host/sysfs.ts';
import { firmwareFacts } from './firmware.ts';
import { container, hypervisor } from './virtualization.ts';

const MAX_BYTES = 64 * 1024;
/** Thirty thousand mounts. */
const MAX_MOUNT_BYTES = 4 * 1024 * 1024;

/**
 * The device that `root=` on the kernel's command line names, as it is written there (`/dev/sda1`, `PARTUUID=…`). Words
 * after `--` are for init. See bootparam(7).
 */
export function rootParameter(commandLine: string): string | undefined {
  const [kernels = ''] = commandLine.trim().split(/\s--(?:\s|$)/);
  const values = [...kernels.matchAll(/(?:^|\s)"?root=("[^"]*"|[^\s"]+)/g)].map(([, value = '']) =>
    value.replaceAll('"', ''),
  );
  return values.at(-1) || undefined;
}

/**
 * The device that the system was booted from. In this order: `root=` if it is a device's name; the mount source of the
 * root; the device of the root's file system; `root=` as it is. The kernel's `/dev/root` is not a device.
 */
export function bootDevice(bootArgument: string | undefined, ...others: (string | undefined)[]): string | undefined {
  return [bootArgument, ...others].find((name) => name?.startsWith('/dev/') && name !== '/dev/root') ?? bootArgument;
}

/** The block device of a folder's file system, by its number; `undefined` when there is none, or more than one. */
function deviceOf(folder: string, sys: string): string | undefined {
  const device = statSync(folder, { bigint: true, throwIfNoEntry: false })?.dev;
  if (device === undefined) return undefined;
  const { DEVNAME } = parseUevent(readOptional(`${sys}/dev/block/${deviceNumber(device)}/uevent`, MAX_BYTES) ?? '');
  return DEVNAME === undefined ? undefined : `/dev/${DEVNAME}`;
}

type Memory = Pick<
  SystemFacts,
  'totalPhysicalMemoryInKB' | 'freePhysicalMemoryInKB' | 'totalVirtualMemoryInKB' | 'freeVirtualMemoryInKB'
>;

/**
 * Memory from the text of /proc/meminfo, with lines such as `MemTotal:       24684084 kB` in units of 1024 bytes, see
 * proc_meminfo(5). Free is MemFree: not used by anything, not even by caches.
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
 * Reads all facts about the machine. Unknown facts are left out; never rejects.
 *
 * @param from `hostRoot` is where the host's root is mounted; the others are for tests
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
  const bootArgument = rootParameter(readOptional(`${proc}/cmdline`, MAX_BYTES) ?? '');
  // This process's own view: in a container, the host's root is mounted on hostRoot there.
  const mounts = readOptional(`${ownRoot}/proc/mounts`, MAX_MOUNT_BYTES) ?? '';
  return {
    ...known({
      osName: release.NAME,
      osVersion: release.VERSION_ID ?? release.VERSION ?? release.BUILD_ID,
      osVendor: release.VENDOR_NAME ?? release.ID,
      ...firmwareFacts(sys),
      kernelVersion: kernelRelease(),
      hypervisor: hypervisor({ proc, sys }),
      container: container(ownRoot),
      bootDevice: bootDevice(bootArgument, mountedOn(hostRoot, mounts), deviceOf(hostRoot, sys)),
    }),
    architecture: machine(),
    hostName: hostNameOf(hostRoot) ?? hostname(),
    ...memoryFacts(readOptional(`${proc}/meminfo`, MAX_BYTES) ?? ''),
  };
}

/** The host's os-release, not the container's. */
function osRelease(hostRoot: string): OsRelease {
  const [first] = OS_RELEASE_FILES.flatMap((path) => hostFile(hostRoot, path) ?? []);
  return parseOsRelease(first ?? '');
}

/** The name in hostname(5): in a container, the kernel returns the container's name. */
function hostNameOf(hostRoot: string): string | undefined {
  if (hostRoot === '/') return undefined;
  const lines = (hostFile(hostRoot, 'etc/hostname') ?? '').split('\n');
  return readable(lines.find((line) => /^[^#\s]/.test(line)) ?? '');
}

function hostFile(hostRoot: string, path: string): string | undefined {
  try {
    return readOptional(inRoot(hostRoot, path), MAX_BYTES);
  } catch {
    return undefined;
  }
}

/** Leaves out undefined and empty values. */
const known = <T extends object>(facts: T): { [K in keyof T]?: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== undefined && value !== '')) as never;
