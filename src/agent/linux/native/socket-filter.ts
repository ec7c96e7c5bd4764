import { writeU16, writeU32 } from './byte-order.ts';

/* Classic BPF: small programs that the kernel runs on each datagram before it queues it on a socket. They jump forward
 * only, read the datagram and one accumulator, and return how many bytes to keep.
 * See linux/filter.h, and the kernel's Documentation/networking/filter.rst. */

/** struct sock_filter. The jumps are numbers of instructions to skip when the comparison holds, and when it does not. */
export interface Instruction {
  readonly code: number;
  readonly ifTrue?: number;
  readonly ifFalse?: number;
  readonly constant?: number;
}

/** A filter's length is a 16-bit number; the kernel's limit is BPF_MAXINSNS of linux/bpf_common.h. */
const MAX_INSTRUCTIONS = 4096;
const MAX_SKIPPED = 255;
const INSTRUCTION_BYTES = 8;

/** BPF_LD | BPF_W | BPF_ABS: loads a word of the datagram. A datagram that is too short is dropped. */
const LOAD_WORD = 0x20;
/** BPF_MISC | BPF_TAX: copies it to the index register, for `ifSameAsAside`. */
const COPY_TO_X = 0x07;
/** BPF_JMP | BPF_JEQ with BPF_K and with BPF_X */
const IF_EQUALS = 0x15;
const IF_SAME = 0x1d;
/** BPF_RET | BPF_K: returns the number of bytes to keep. */
const KEEP_BYTES = 0x06;

export const load = (at: number): Instruction => ({ code: LOAD_WORD, constant: at });
export const copyToX: Instruction = { code: COPY_TO_X };
export const ifEqualsX = (ifTrue: number, ifFalse: number): Instruction => ({ code: IF_SAME, ifTrue, ifFalse });
export const keep: Instruction = { code: KEEP_BYTES, constant: 0xffff_ffff };
export const drop: Instruction = { code: KEEP_BYTES, constant: 0 };

/**
 * Compares the loaded word.
 *
 * @param value in the host's byte order, as netlink writes it; the filter loads in network order
 */
export function ifEquals(value: number, ifTrue: number, ifFalse: number): Instruction {
  const word = Buffer.alloc(4);
  writeU32(word, 0, value);
  return { code: IF_EQUALS, ifTrue, ifFalse, constant: word.readUInt32BE(0) };
}

/**
 * An array of struct sock_filter: u16 code, u8 jump if true, u8 jump if false, u32 constant; all in the host's order.
 *
 * @throws RangeError when a jump or the program is too long: a programming error
 */
export function assemble(program: readonly Instruction[]): Buffer {
  if (program.length === 0 || program.length > MAX_INSTRUCTIONS) {
    throw new RangeError(`a filter of ${program.length} instructions`);
  }
  const code = Buffer.alloc(program.length * INSTRUCTION_BYTES);
  for (const [index, { code: operation, ifTrue = 0, ifFalse = 0, constant = 0 }] of program.entries()) {
    if (ifTrue > MAX_SKIPPED || ifFalse > MAX_SKIPPED) throw new RangeError('a jump that is too long');
    const at = index * INSTRUCTION_BYTES;
    writeU16(code, at, operation);
    code[at + 2] = ifTrue;
    code[at + 3] = ifFalse;
    writeU32(code, at + 4, constant);
  }
  return code;
}

/** Number of instructions of an assembled program. */
export const lengthOf = (program: Buffer): number => program.length / INSTRUCTION_BYTES;
