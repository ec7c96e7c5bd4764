/** Target processors; 64-bit kernels run the programs of both. */
export type Machine32 = 'i386' | 'arm';

/**
 * A system call, with its number in arch/x86/entry/syscalls/syscall_32.tbl or arch/arm/tools/syscall.tbl. An argument that is
 * a pointer is given as the bytes in memory.
 */
export type Call32 = readonly [number: number, ...args: (number | Memory)[]];

/** Bytes, or words, some of which may be pointers. */
type Memory = Buffer | readonly (number | Memory)[];

const EXIT = 1;
const EXECVE = 11;

const BASE = 0x0804_8000;
const CODE_AT = 52 + 32;

const text = (value: string) => Buffer.from(`${value}\0`);

/** execve("/bin/true", {"/bin/true", "from 32 bits", 0}, {0}) */
const START_TRUE: readonly Call32[] = [
  [EXECVE, text('/bin/true'), [text('/bin/true'), text('from 32 bits'), 0], [0]],
  [EXIT, 1],
];

interface Processor {
  /** `e_machine` and `e_flags` of elf(5). */
  readonly machine: number;
  readonly flags: number;
  /** Loads a value into a register: position 0 is the system call's number, 1 and up are its arguments. */
  load(position: number, value: number): Buffer;
  /** The instruction that enters the kernel. */
  readonly call: Buffer;
}

const words = (...values: readonly number[]): Buffer => {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [index, value] of values.entries()) bytes.writeUInt32LE(value >>> 0, index * 4);
  return bytes;
};

const PROCESSORS: Readonly<Record<Machine32, Processor>> = {
  i386: {
    machine: 3,
    flags: 0,
    load(position, value) {
      // mov eax, ebx, ecx, edx, esi, edi
      const move = Buffer.from([[0xb8, 0xbb, 0xb9, 0xba, 0xbe, 0xbf][position] ?? 0, 0, 0, 0, 0]);
      move.writeUInt32LE(value, 1);
      return move;
    },
    call: Buffer.from([0xcd, 0x80]), // int 0x80
  },
  arm: {
    machine: 40,
    flags: 0x0500_0000, // EABI 5
    load(position, value) {
      const register = position === 0 ? 7 : position - 1;
      const half = (instruction: number, bits: number) =>
        instruction | ((bits & 0xf000) << 4) | (register << 12) | (bits & 0xfff);
      return words(half(0xe300_0000, value & 0xffff), half(0xe340_0000, value >>> 16)); // movw, movt
    },
    call: words(0xef00_0000), // svc 0
  },
};

/**
 * Returns a 32-bit program that makes these system calls one after the other and ignores their results. It consists of an ELF
 * header, one program header, code and data, in one segment at 0x08048000. See elf(5).
 */
export function elf32(calls: readonly Call32[] = START_TRUE, machine: Machine32 = 'i386'): Buffer {
  const processor = PROCESSORS[machine];
  const codeBytes = calls.reduce(
    (sum, call) => sum + call.length * processor.load(0, 0).length + processor.call.length,
    0,
  );
  const data: Buffer[] = [];
  let end = BASE + CODE_AT + codeBytes;
  const keep = (bytes: Buffer): number => {
    const at = end;
    const padded = Buffer.alloc((bytes.length + 3) & ~3);
    bytes.copy(padded);
    data.push(padded);
    end += padded.length;
    return at;
  };
  const place = (value: number | Memory): number => {
    if (typeof value === 'number') return value;
    return keep(Buffer.isBuffer(value) ? value : words(...value.map(place)));
  };

  const code: Buffer[] = [];
  for (const call of calls) {
    for (const [position, value] of call.entries()) code.push(processor.load(position, place(value)));
    code.push(processor.call);
  }

  const header = Buffer.alloc(CODE_AT);
  const size = end - BASE;
  header.write('\x7fELF\x01\x01\x01', 'latin1');
  header.writeUInt16LE(2, 16); // executable
  header.writeUInt16LE(processor.machine, 18);
  header.writeUInt32LE(1, 20);
  header.writeUInt32LE(BASE + CODE_AT, 24); // entry
  header.writeUInt32LE(52, 28); // where the program header is
  header.writeUInt32LE(processor.flags, 36);
  header.writeUInt16LE(52, 40);
  header.writeUInt16LE(32, 42);
  header.writeUInt16LE(1, 44);
  header.writeUInt32LE(1, 52); // load
  header.writeUInt32LE(0, 56);
  header.writeUInt32LE(BASE, 60);
  header.writeUInt32LE(BASE, 64);
  header.writeUInt32LE(size, 68);
  header.writeUInt32LE(size, 72);
  header.writeUInt32LE(7, 76); // read, write, execute
  header.writeUInt32LE(0x1000, 80);
  return Buffer.concat([header, ...code, ...data]);
}
