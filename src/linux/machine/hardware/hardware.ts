import { existsSync } from 'node:fs';
import { AgentError } from '../../../base/errors.ts';
import { hostMount, inRoot } from '../../../base/in-root.ts';
import type { HardwareDevice, ListingStatus } from '../../../contract/sources.ts';
import { readBytes, readOptional } from '../../../host/bounded-file.ts';
import { readable } from '../../../host/readable.ts';
import { devicesIn, MAX_PER_KIND } from '../../../host/sysfs.ts';
import { idName } from './id-names.ts';
import { KINDS, type Names } from './kinds.ts';
import { parseSoundCards } from './sound-cards.ts';

/** Devices of all kinds together. */
const MAX_DEVICES = 4_096;
/** Devices read before yielding to the event loop: each takes up to half a millisecond on a slow board. */
const DEVICES_PER_TURN = 16;
/** In bytes. */
const LONGEST_NUMBER = 64;
/** pci.ids has 1.5 MB, usb.ids 0.8 MB. */
const MAX_ID_BYTES = 4 * 1024 * 1024;

interface Options {
  readonly hostRoot: string;
  readonly sys?: string;
  readonly proc?: string;
  /** Word size of this process, 32 or 64, which determines how sysfs writes bit maps. */
  readonly wordBits?: 32 | 64;
}

/** The hardware that the kernel knows. */
export class Hardware {
  readonly #options: Options;
  #status: ListingStatus = { state: 'off' };

  constructor(options: Options) {
    this.#options = options;
  }

  /** How the last listing went. */
  status(): ListingStatus {
    return this.#status;
  }

  /** The number of the kernel's last message about a device: it counts whatever is attached, detached or changed. */
  async trace(): Promise<string | undefined> {
    const { hostRoot, sys = hostMount(hostRoot, 'sys') } = this.#options;
    return readOptional(`${sys}/kernel/uevent_seqnum`, LONGEST_NUMBER);
  }

  /**
   * All devices, by kind and in natural order.
   *
   * @throws the signal's reason when it aborts, AgentError SOURCE_UNREADABLE when sysfs is missing
   */
  async devices(signal: AbortSignal): Promise<readonly HardwareDevice[]> {
    const { found, leftOut } = await listHardware(this.#options, signal);
    const reason = `${leftOut} devices are not listed: at most ${MAX_PER_KIND} of a kind and ${MAX_DEVICES} in all are.`;
    this.#status = leftOut === 0 ? { state: 'on' } : { state: 'degraded', reason, leftOut };
    return found;
  }
}

/** The devices in sysfs, and how many entries exceeded the limits. */
async function listHardware(
  options: Options,
  signal: AbortSignal,
): Promise<{ found: readonly HardwareDevice[]; leftOut: number }> {
  const { hostRoot, sys = hostMount(hostRoot, 'sys'), proc = hostMount(hostRoot, 'proc') } = options;
  const { wordBits = WORD_BITS[process.arch] ?? 64 } = options;
  signal.throwIfAborted();
  if (!existsSync(`${sys}/devices`)) {
    throw new AgentError(
      'SOURCE_UNREADABLE',
      `Hardware can't be listed: there is no ${sys}/devices`,
      'Mount sysfs at /sys; containers have it by default.',
    );
  }
  const context = { names: new HostNames(hostRoot, proc), wordBits };
  const found: HardwareDevice[] = [];
  let looked = 0;
  let leftOut = 0;
  for (const { category, folder, names, describe } of KINDS) {
    const { devices, more } = devicesIn(sys, folder);
    leftOut += more;
    for (const device of devices) {
      if (!names.test(device.name)) continue;
      if (found.length >= MAX_DEVICES) {
        leftOut += 1;
        continue;
      }
      const description = describe(device, context);
      if (description !== undefined) found.push(known({ category, ...description }));
      if (++looked % DEVICES_PER_TURN !== 0) continue;
      await new Promise((resolve) => setImmediate(resolve));
      signal.throwIfAborted();
    }
  }
  return { found, leftOut };
}

/** Architectures for which Node is a 32-bit program. */
const WORD_BITS: Readonly<Partial<Record<NodeJS.Architecture, 32>>> = { arm: 32, ia32: 32, mips: 32, mipsel: 32 };

/** Leaves out undefined and empty properties. */
const known = (device: { [K in keyof HardwareDevice]?: HardwareDevice[K] | undefined }): HardwareDevice =>
  Object.fromEntries(Object.entries(device).filter(([, value]) => value !== undefined && value !== '')) as never;

/** Names from the host's id files, each read on first use. The files are optional and often not installed. */
class HostNames implements Names {
  readonly #hostRoot: string;
  readonly #proc: string;
  readonly #ids = new Map<string, Buffer>();
  #soundCards: Map<number, string> | undefined;

  constructor(hostRoot: string, proc: string) {
    this.#hostRoot = hostRoot;
    this.#proc = proc;
  }

  of(kind: 'pci' | 'usb', vendorId: string, productId: string): string | undefined {
    let ids = this.#ids.get(kind);
    if (ids === undefined) {
      ids = this.#read(`usr/share/hwdata/${kind}.ids`) ?? this.#read(`usr/share/misc/${kind}.ids`) ?? Buffer.alloc(0);
      this.#ids.set(kind, ids);
    }
    return readable(idName(ids, vendorId, productId) ?? '');
  }

  soundCard(index: number): string | undefined {
    this.#soundCards ??= parseSoundCards(readOptional(`${this.#proc}/asound/cards`, 64 * 1024) ?? '');
    return readable(this.#soundCards.get(index) ?? '');
  }

  #read(path: string): Buffer | undefined {
    try {
      return readBytes(inRoot(this.#hostRoot, path), MAX_ID_BYTES);
    } catch {
      return undefined;
    }
  }
}
