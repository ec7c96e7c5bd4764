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
import { KINDS, type Names } from './kinds.ts';

/**
 * Looks up a name in pci.ids or usb.ids, which map numbers to names:
 * ```
 * 8086  Intel Corporation
 * 	15d7  Ethernet Connection (4) I219-LM
 * 		1028 07a7  Latitude 7480
 * ```
 * See https://pci-ids.ucw.cz and http://www.linux-usb.org/usb-ids.html. The file is searched as bytes: as text, it would
 * take several times its 1.5 MB.
 *
 * @returns the names of the vendor and the device; `undefined` when the device is not listed
 */
export function idName(ids: Buffer, vendorId: string, productId: string): string | undefined {
  const vendor = entry(ids, `\n${vendorId}  `, 0, ids.length);
  if (vendor === undefined) return undefined;
  const device = entry(ids, `\n\t${productId}  `, vendor.end, endOfVendor(ids, vendor.end));
  return device === undefined ? undefined : `${vendor.name} ${device.name}`;
}

function entry(ids: Buffer, key: string, from: number, to: number): { name: string; end: number } | undefined {
  const at = ids.subarray(0, to).indexOf(key, from);
  if (at === -1) return undefined;
  const start = at + Buffer.byteLength(key);
  const end = endOfLine(ids, start);
  return { name: ids.toString('utf8', start, end), end };
}

const [TAB, NEWLINE, HASH] = [...'\t\n#'].map((character) => character.charCodeAt(0));

/** A vendor's devices are indented; there may be comments and empty lines between them. */
function endOfVendor(ids: Buffer, from: number): number {
  let at = from;
  while (at < ids.length && (ids[at + 1] === TAB || ids[at + 1] === HASH || ids[at + 1] === NEWLINE)) {
    at = endOfLine(ids, at + 1);
  }
  return at;
}

function endOfLine(ids: Buffer, from: number): number {
  const newline = ids.indexOf('\n', from);
  return newline === -1 ? ids.length : newline;
}

/**
 * Names of sound cards by number, from /proc/asound/cards; snd_card_info_read() of sound/core/init.c writes it:
 * ```
 *  0 [PCH            ]: HDA-Intel - HDA Intel PCH
 *                       HDA Intel PCH at 0xdf240000 irq 145
 * ```
 */
export function parseSoundCards(text: string): Map<number, string> {
  const names = new Map<number, string>();
  for (const line of text.split('\n')) {
    const [, index, name] = /^ ?(\d{1,3}) \[[^\]]{1,32}\]: .{0,64}? - (.+)$/.exec(line) ?? [];
    if (index !== undefined && name !== undefined && !names.has(Number(index))) names.set(Number(index), name);
  }
  return names;
}

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
