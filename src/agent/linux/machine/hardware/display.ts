import { readable } from '../../../host/readable.ts';

/** The identification of a display. */
export interface Display {
  /** Three letters, assigned by https://uefi.org/PNP_ID_List. */
  readonly vendorId: string;
  /** Four digits, in hexadecimal. */
  readonly productId: string;
  readonly name?: string;
  readonly serial?: string;
}

const BLOCK_BYTES = 128;
const HEADER = Buffer.from('00ffffffffffff00', 'hex');
/** Offsets of the four descriptors, and the types of the two that are read. */
const DESCRIPTORS = [54, 72, 90, 108];
const NAME = 0xfc;
const SERIAL = 0xff;

/**
 * Reads the first block of an EDID, a display's description; VESA Enhanced EDID Standard, release A, revision 2,
 * section 3.
 *
 * @returns `undefined` when it is not an EDID
 */
export function parseEdid(edid: Buffer): Display | undefined {
  if (edid.length < BLOCK_BYTES || !edid.subarray(0, HEADER.length).equals(HEADER)) return undefined;
  const maker = edid.readUInt16BE(8);
  const letters = [maker >> 10, maker >> 5, maker].map((five) => String.fromCharCode(64 + (five & 31)));
  const name = descriptor(edid, NAME);
  const serial = descriptor(edid, SERIAL);
  return {
    vendorId: letters.join(''),
    productId: edid.readUInt16LE(10).toString(16).padStart(4, '0'),
    ...(name === undefined ? {} : { name }),
    ...(serial === undefined ? {} : { serial }),
  };
}

/** Thirteen characters after `00 00 00 TYPE 00`, ended by a line feed. */
function descriptor(edid: Buffer, type: number): string | undefined {
  const at = DESCRIPTORS.find((offset) => edid.readUIntBE(offset, 5) === type * 256);
  if (at === undefined) return undefined;
  const [line = ''] = edid.toString('latin1', at + 5, at + 18).split('\n', 1);
  return readable(line);
}
