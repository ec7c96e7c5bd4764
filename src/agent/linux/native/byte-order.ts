import { endianness } from 'node:os';

/* The kernel's structures use the host's byte order. All supported platforms are little-endian, but these functions keep the
 * question out of all other code, except what reads through a DataView. */

export const IS_LITTLE_ENDIAN = endianness() === 'LE';

export const readU16 = (from: Buffer, at: number): number =>
  IS_LITTLE_ENDIAN ? from.readUInt16LE(at) : from.readUInt16BE(at);
export const readU32 = (from: Buffer, at: number): number =>
  IS_LITTLE_ENDIAN ? from.readUInt32LE(at) : from.readUInt32BE(at);
export const writeU16 = (into: Buffer, at: number, value: number): number =>
  IS_LITTLE_ENDIAN ? into.writeUInt16LE(value, at) : into.writeUInt16BE(value, at);
/** Negative numbers are written as two's complement. */
export const writeU32 = (into: Buffer, at: number, value: number): number =>
  IS_LITTLE_ENDIAN ? into.writeUInt32LE(value >>> 0, at) : into.writeUInt32BE(value >>> 0, at);
