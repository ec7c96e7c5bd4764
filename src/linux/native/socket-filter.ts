import { writeU16, writeU32 } from './netlink/message.ts';

/* Classic BPF: small programs that the kernel runs on each datagram before it puts it into a socket's queue. They jump
 * forward only, read the datagram and one accumulator, and end by saying how many bytes are to be kept.
 * See linux/filter.h, and the kernel's Documentation/networking/filter.rst. */

/** struct sock_filter. The jumps skip that many instructions when the comparison holds, and when it doesn't. */
export interface Instruction {
  readonly code: number;
  readonly ifTrue?: number;
  readonly ifFalse?: number;
  readonly constant?: number;
}

/** A filter counts its instructions with 16 bits; the kernel takes BPF_MAXINSNS of linux/bpf_common.h. */
const MOST_INSTRUCTIONS = 4096;
const MOST_SKIPPED = 255;
const INSTRUCTION_BYTES = 8;

/** BPF_LD | BPF_W | BPF_ABS: takes a word of the datagram. When there is none the datagram is thrown away. */
const LOAD_WORD = 0x20;
/** BPF_MISC | BPF_TAX: lays it aside for `ifSameAsAside`. */
const LAY_ASIDE = 0x07;
/** BPF_JMP | BPF_JEQ with BPF_K and with BPF_X */
const IF_EQUALS = 0x15;
const IF_SAME = 0x1d;
/** BPF_RET | BPF_K: ends with the number of bytes that are kept. */
const KEEP_BYTES = 0x06;

export const load = (at: number): Instruction => ({ code: LOAD_WORD, constant: at });
export const layAside: Instruction = { code: LAY_ASIDE };
export const ifSameAsAside = (ifTrue: number, ifFalse: number): Instruction => ({ code: IF_SAME, ifTrue, ifFalse });
export const keep: Instruction = { code: KEEP_BYTES, constant: 0xffff_ffff };
export const drop: Instruction = { code: KEEP_BYTES, constant: 0 };

/**
 * Compares the loaded word.
 *
 * @param value as the host writes it: netlink speaks the host's byte order, a filter loads in the network's
 */
export function ifEquals(value: number, ifTrue: number, ifFalse: number): Instruction {
  const word = Buffer.alloc(4);
  writeU32(word, 0, value);
  return { code: IF_EQUALS, ifTrue, ifFalse, constant: word.readUInt32BE(0) };
}

/**
 * An array of struct sock_filter: u16 code, u8 jump if true, u8 jump if false, u32 constant; all in the host's order.
 *
 * @throws RangeError when a jump or the program is too long: a defect of whoever wrote it
 */
export function assemble(program: readonly Instruction[]): Buffer {
  if (program.length === 0 || program.length > MOST_INSTRUCTIONS) {
    throw new RangeError(`a filter of ${program.length} instructions`);
  }
  const code = Buffer.alloc(program.length * INSTRUCTION_BYTES);
  for (const [index, { code: operation, ifTrue = 0, ifFalse = 0, constant = 0 }] of program.entries()) {
    if (ifTrue > MOST_SKIPPED || ifFalse > MOST_SKIPPED) throw new RangeError('a jump that is too long');
    const at = index * INSTRUCTION_BYTES;
    writeU16(code, at, operation);
    code[at + 2] = ifTrue;
    code[at + 3] = ifFalse;
    writeU32(code, at + 4, constant);
  }
  return code;
}

/** How many instructions an assembled program has. */
export const lengthOf = (program: Buffer): number => program.length / INSTRUCTION_BYTES;
