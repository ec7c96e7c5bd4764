/** A system call, by its number in arch/x86/entry/syscalls/syscall_32.tbl. An argument in memory is given by its bytes. */
export type Call32 = readonly [number: number, ...args: (number | Memory)[]];

/** Bytes, or words of which some are pointers to others. */
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

/**
 * A 32-bit x86 program that makes these system calls one after the other, by int 0x80, whatever they return. An ELF header,
 * one program header, code and data, all in one segment at 0x08048000. See elf(5).
 */
export function elf32(calls: readonly Call32[] = START_TRUE): Buffer {
  // mov eax, ebx, ecx, edx, esi, edi: the number, and the arguments.
  const registers = [0xb8, 0xbb, 0xb9, 0xba, 0xbe, 0xbf];
  const codeBytes = calls.reduce((sum, call) => sum + call.length * 5 + 2, 0);
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
    if (Buffer.isBuffer(value)) return keep(value);
    const words = value.map(place);
    const bytes = Buffer.alloc(words.length * 4);
    for (const [index, word] of words.entries()) bytes.writeUInt32LE(word, index * 4);
    return keep(bytes);
  };

  const code: Buffer[] = [];
  for (const call of calls) {
    for (const [index, value] of call.entries()) {
      const move = Buffer.from([registers[index] ?? 0, 0, 0, 0, 0]);
      move.writeUInt32LE(place(value), 1);
      code.push(move);
    }
    code.push(Buffer.from([0xcd, 0x80])); // int 0x80
  }

  const header = Buffer.alloc(CODE_AT);
  const size = end - BASE;
  header.write('\x7fELF\x01\x01\x01', 'latin1');
  header.writeUInt16LE(2, 16); // executable
  header.writeUInt16LE(3, 18); // i386
  header.writeUInt32LE(1, 20);
  header.writeUInt32LE(BASE + CODE_AT, 24); // entry
  header.writeUInt32LE(52, 28); // where the program header is
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
