import { existsSync } from 'node:fs';
import * as v from 'valibot';
import { readBytes, readOptional } from '../../../../core/base/bounded-file.ts';
import { seconds } from '../../../../core/base/duration.ts';
import { defined } from '../../../../core/base/values.ts';
import type { HardwareDevice } from '../../../../core/contract/sources.ts';
import { hostMount, inRoot } from '../../../host/in-root.ts';
import { readable } from '../../../host/readable.ts';
import { devicesIn } from '../../../host/sysfs.ts';
import type { AnswerContext, QuestionKind } from '../../../reader/question.ts';
import { idName } from './id-names.ts';
import { KINDS, type Names } from './kinds.ts';
import { parseSoundCards } from './sound-cards.ts';

/* Runs in the reader: any user can keep a directory of sysfs locked indefinitely, which blocks its readers. */

/** Devices of all kinds together. */
export const MAX_DEVICES = 4_096;
/** Devices between two reports of progress: each takes up to half a millisecond on a slow board. */
const DEVICES_A_STEP = 16;
/** pci.ids has 1.5 MB, usb.ids 0.8 MB. */
const MAX_ID_BYTES = 4 * 1024 * 1024;

/** Where the hardware is listed. */
export interface HardwarePlace {
  readonly hostRoot: string;
  readonly sys?: string;
  readonly proc?: string;
  /** Word size of this process, 32 or 64, which determines how sysfs writes bit maps. */
  readonly wordBits?: 32 | 64;
}

/** The devices in sysfs, and how many entries exceeded the limits. */
export interface HardwareListing {
  readonly found: readonly HardwareDevice[];
  readonly leftOut: number;
}

/** Answers with `null` when sysfs is missing. */
export const HARDWARE: QuestionKind<HardwarePlace, HardwareListing | null> = {
  name: 'hardware',
  // Limit of one step: a directory, or some devices.
  limit: seconds(10),
  maxBytes: 16 * 1024 * 1024,
};

const text = v.pipe(v.string(), v.maxLength(16_384));
const Listing = v.nullable(
  v.strictObject({
    found: v.pipe(
      v.array(
        v.strictObject({
          category: text,
          subCategory: text,
          name: text,
          vendorId: v.exactOptional(text),
          productId: v.exactOptional(text),
          serial: v.exactOptional(text),
          driver: v.exactOptional(text),
          bus: v.exactOptional(text),
        }),
      ),
      v.maxLength(MAX_DEVICES),
    ),
    leftOut: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  }),
);

/** The child reads what devices say, so its answer is validated as untrusted input. @throws if it is not a listing */
export const parseListing = (answer: unknown): HardwareListing | null => v.parse(Listing, answer);

export function listHardware(place: HardwarePlace, { at }: AnswerContext): HardwareListing | null {
  const { hostRoot, sys = hostMount(hostRoot, 'sys'), proc = hostMount(hostRoot, 'proc') } = place;
  const { wordBits = WORD_BITS[process.arch] ?? 64 } = place;
  at(`${sys}/devices`);
  if (!existsSync(`${sys}/devices`)) return null;
  const context = { names: new HostNames(hostRoot, proc), wordBits };
  const found: HardwareDevice[] = [];
  let looked = 0;
  let leftOut = 0;
  for (const { category, folder, names, describe } of KINDS) {
    at(`${sys}/${folder}`);
    const { devices, more } = devicesIn(sys, folder);
    leftOut += more;
    for (const device of devices) {
      if (!names.test(device.name)) continue;
      if (found.length >= MAX_DEVICES) {
        leftOut += 1;
        continue;
      }
      if (++looked % DEVICES_A_STEP === 0) at(`${sys}${device.path}`);
      const description = describe(device, context);
      if (description === undefined) continue;
      const { subCategory, name, ...others } = description;
      found.push({ category, subCategory, name, ...defined(others) });
    }
  }
  return { found, leftOut };
}

/** Architectures for which Node is a 32-bit program. */
const WORD_BITS: Readonly<Partial<Record<NodeJS.Architecture, 32>>> = { arm: 32, ia32: 32, mips: 32, mipsel: 32 };

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
