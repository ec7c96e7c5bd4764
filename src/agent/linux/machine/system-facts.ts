import { statSync } from 'node:fs';
import { hostname, release as kernelRelease, machine } from 'node:os';
import { join } from 'node:path';
import * as v from 'valibot';
import { readOptional } from '../../../core/base/bounded-file.ts';
import { seconds } from '../../../core/base/duration.ts';
import { defined } from '../../../core/base/values.ts';
import type { SystemFacts } from '../../../core/contract/sources.ts';
import { deviceNumber } from '../../host/device-number.ts';
import { hostMount, inRoot } from '../../host/in-root.ts';
import { mountedOn } from '../../host/mounts.ts';
import { OS_RELEASE_FILES, type OsRelease, parseOsRelease } from '../../host/os-release.ts';
import { readable } from '../../host/readable.ts';
import { parseUevent } from '../../host/sysfs.ts';
import type { AnswerContext, QuestionKind } from '../../reader/question.ts';
import { firmwareFacts } from './firmware.ts';
import { container, hypervisor } from './virtualization.ts';

/* Runs in the reader; see machine-question.ts. */

/** Where the facts are read. */
export interface FactsPlace {
  /** Where the host's root is mounted. */
  readonly hostRoot: string;
  /** This and the next two are for tests. */
  readonly proc?: string;
  readonly sys?: string;
  /** This process's own root. */
  readonly ownRoot?: string;
}

export const SYSTEM_FACTS: QuestionKind<FactsPlace, SystemFacts> = {
  name: 'systemFacts',
  limit: seconds(10),
  maxBytes: 1024 * 1024,
};

const text = v.exactOptional(v.pipe(v.string(), v.maxLength(128 * 1024)));
const kilobytes = v.exactOptional(v.pipe(v.number(), v.safeInteger(), v.minValue(0)));
const Facts: v.GenericSchema<unknown, SystemFacts> = v.strictObject({
  osName: text,
  osVersion: text,
  osVendor: text,
  osId: text,
  osIdLike: text,
  osCodename: text,
  osBuildId: text,
  architecture: v.string(),
  hostName: v.string(),
  biosVersion: text,
  biosVendor: text,
  machineVendor: text,
  machineModel: text,
  firmware: text,
  secureBoot: v.exactOptional(v.boolean()),
  kernelVersion: text,
  hypervisor: text,
  container: text,
  bootDevice: text,
  totalPhysicalMemoryInKB: kilobytes,
  freePhysicalMemoryInKB: kilobytes,
  totalVirtualMemoryInKB: kilobytes,
  freeVirtualMemoryInKB: kilobytes,
});

/** @throws if it is not an answer of the reader */
export const parseFacts = (answer: unknown): SystemFacts => v.parse(Facts, answer);

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
  return defined({
    totalPhysicalMemoryInKB: total('MemTotal'),
    freePhysicalMemoryInKB: total('MemFree'),
    totalVirtualMemoryInKB: total('MemTotal', 'SwapTotal'),
    freeVirtualMemoryInKB: total('MemFree', 'SwapFree'),
  });
}

/** Reads all facts about the machine. Unknown facts are left out; throws nothing. */
export function systemFacts(place: FactsPlace, { at }: AnswerContext = { at: () => {} }): SystemFacts {
  const { hostRoot, proc = hostMount(hostRoot, 'proc'), sys = hostMount(hostRoot, 'sys'), ownRoot = '/' } = place;
  at(join(hostRoot, 'etc'));
  const release = osRelease(hostRoot);
  at(proc);
  const bootArgument = rootParameter(readOptional(`${proc}/cmdline`, MAX_BYTES) ?? '');
  // This process's own view: in a container, the host's root is mounted on hostRoot there.
  const mounts = readOptional(`${ownRoot}/proc/mounts`, MAX_MOUNT_BYTES) ?? '';
  at(sys);
  const firmware = firmwareFacts(sys, at);
  at(sys);
  return {
    ...defined({
      osName: release.NAME || undefined,
      osVersion: (release.VERSION_ID ?? release.VERSION ?? release.BUILD_ID) || undefined,
      osVendor: (release.VENDOR_NAME ?? release.ID) || undefined,
      osId: release.ID || undefined,
      osIdLike: release.ID_LIKE || undefined,
      osCodename: release.VERSION_CODENAME || undefined,
      osBuildId: release.BUILD_ID || undefined,
      ...firmware,
      kernelVersion: kernelRelease(),
      hypervisor: hypervisor({ proc, sys }),
      container: container(ownRoot),
      bootDevice: bootDevice(bootArgument, mountedOn(hostRoot, mounts), deviceOf(hostRoot, sys)),
    }),
    architecture: machine(),
    hostName: hostNameOf(hostRoot, at) ?? hostname(),
    ...memoryFacts(readOptional(`${proc}/meminfo`, MAX_BYTES) ?? ''),
  };
}

/** The host's os-release, not the container's. */
function osRelease(hostRoot: string): OsRelease {
  const [first] = OS_RELEASE_FILES.flatMap((path) => hostFile(hostRoot, path) ?? []);
  return parseOsRelease(first ?? '');
}

/** The name in hostname(5): in a container, the kernel returns the container's name. */
function hostNameOf(hostRoot: string, at: AnswerContext['at']): string | undefined {
  if (hostRoot === '/') return undefined;
  at(join(hostRoot, 'etc'));
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
