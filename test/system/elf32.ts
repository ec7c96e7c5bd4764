/**
 * A 32-bit x86 program: execve("/bin/true", {"/bin/true", "from 32 bits", 0}, {0}) by int 0x80, then exit(1). An ELF
 * header, one program header, and code, all in one segment at 0x08048000. See elf(5).
 */
export function elf32(): Buffer {
  const base = 0x0804_8000;
  const codeAt = 52 + 32;
  const code = Buffer.alloc(40, 0x90);
  const path = Buffer.from('/bin/true\0');
  const argument = Buffer.from('from 32 bits\0');
  const pathAt = codeAt + code.length;
  const argumentAt = pathAt + path.length;
  const argvAt = (argumentAt + argument.length + 3) & ~3;
  const size = argvAt + 16;

  let at = 0;
  const put = (opcode: number, value?: number) => {
    at = code.writeUInt8(opcode, at);
    if (value !== undefined) at = code.writeUInt32LE(value, at);
  };
  put(0xb8, 11); // mov eax, execve
  put(0xbb, base + pathAt); // mov ebx, path
  put(0xb9, base + argvAt); // mov ecx, argv
  put(0xba, base + argvAt + 8); // mov edx, envp: the zero at the end of argv
  at = code.writeUInt16BE(0xcd80, at); // int 0x80
  put(0xb8, 1); // mov eax, exit
  put(0xbb, 1); // mov ebx, 1
  code.writeUInt16BE(0xcd80, at);

  const file = Buffer.alloc(size);
  file.write('\x7fELF\x01\x01\x01', 'latin1');
  file.writeUInt16LE(2, 16); // executable
  file.writeUInt16LE(3, 18); // i386
  file.writeUInt32LE(1, 20);
  file.writeUInt32LE(base + codeAt, 24); // entry
  file.writeUInt32LE(52, 28); // where the program header is
  file.writeUInt16LE(52, 40);
  file.writeUInt16LE(32, 42);
  file.writeUInt16LE(1, 44);
  file.writeUInt32LE(1, 52); // load
  file.writeUInt32LE(0, 56);
  file.writeUInt32LE(base, 60);
  file.writeUInt32LE(base, 64);
  file.writeUInt32LE(size, 68);
  file.writeUInt32LE(size, 72);
  file.writeUInt32LE(5, 76); // read, execute
  file.writeUInt32LE(0x1000, 80);
  code.copy(file, codeAt);
  path.copy(file, pathAt);
  argument.copy(file, argumentAt);
  file.writeUInt32LE(base + pathAt, argvAt);
  file.writeUInt32LE(base + argumentAt, argvAt + 4);
  return file;
}
