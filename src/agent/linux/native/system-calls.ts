import { createRequire } from 'node:module';
import { type Duration, milliseconds } from '../../../core/base/duration.ts';
import { AgentError, messageOf } from '../../../core/base/errors.ts';
import { readU32, writeU32 } from './byte-order.ts';
import { lengthOf } from './socket-filter.ts';

/** From asm-generic/socket.h; the same on all platforms of Node. */
const SOL_SOCKET = 1;
const SO_ATTACH_FILTER = 26;
/** From asm-generic/unistd.h; the same on all platforms of Node. C libraries have no function for it. */
const SYS_OPENAT2 = 437;

/** System calls that Node has no function for. Each returns -1 on failure; call `errno()` at once for the reason. */
export interface SystemCalls {
  socket(family: number, type: number, protocol: number): number;
  bind(fd: number, address: Buffer, length: number): number;
  connect(fd: number, address: Buffer, length: number): number;
  setsockopt(fd: number, level: number, option: number, value: Buffer, length: number): number;
  /** See getsockopt(2). @returns the length of the value */
  getsockopt(fd: number, level: number, option: number, into: Buffer): number;
  sendto(fd: number, data: Buffer, bytes: number, flags: number, address: Buffer, length: number): number;
  /**
   * See recvfrom(2). @param from receives the sender's address @param fromLength its size, four bytes, which the kernel replaces
   * @returns the length of the datagram, of which `bytes` at most are in `into`
   */
  recvfrom(fd: number, into: Buffer, bytes: number, flags: number, from: Buffer, fromLength: Buffer): number;
  /** Attaches a classic BPF program to a socket; see SO_ATTACH_FILTER in socket(7). */
  attachFilter(fd: number, program: Buffer): number;
  /** See flock(2). */
  flock(fd: number, operation: number): number;
  /** See fcntl(2); for commands that take an integer. */
  fcntl(fd: number, command: number, value: number): number;
  /** See openat2(2), Linux 5.6. @param how a `struct open_how` */
  openat2(folder: number, path: string, how: Buffer): number;
  /** See lgetxattr(2): a link is not followed. With a size of 0 it returns the length of the value. @param path with its NUL */
  lgetxattr(path: Buffer, name: string, value: null, bytes: 0): number;
  /** See getxattr(2). @returns the length of the value */
  getxattr(path: string, name: string, into: Buffer, bytes: number): number;
  /** See clock_gettime(2). @param into 16 bytes: how long a `struct timespec` is depends on the C library */
  clockGettime(clock: number, into: Buffer): number;
  errno(): number;
  /** Returns freed memory to the system, with glibc only; see malloc_trim(3). */
  mallocTrim(pad: number): number;
  /** See madvise(2). Can discard the content of pages that no file backs. */
  madvise(address: number, bytes: number, advice: number): number;
  /** See _exit(2): waits for no thread, and calls nothing that is registered for the end. */
  exit(status: number): void;
}

let loaded: SystemCalls | undefined;

/**
 * Loads koffi on first use: a board without a binary of koffi still runs everything that does not need it.
 *
 * @throws AgentError SOCKET_UNAVAILABLE when koffi has no binary for this platform
 */
export function systemCalls(): SystemCalls {
  if (loaded !== undefined) return loaded;
  try {
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
    const libc = koffi.load(null); // null is this process, which has its C library loaded
    // struct sock_fprog of linux/filter.h has a pointer, which a Buffer cannot express.
    const program = koffi.struct({ length: 'uint16_t', instructions: 'const uint8_t *' });
    const programBytes = koffi.sizeof(program);
    const attach = libc.func('setsockopt', 'int', ['int', 'int', 'int', koffi.pointer(program), 'uint32_t']);
    const getsockopt = libc.func('int getsockopt(int, int, int, void *, void *)');
    const fcntl = libc.func('int fcntl(int, int, ...)');
    // syscall(2) takes registers: an int would leave the upper half of one undefined.
    const openat2 = libc.func('intptr_t syscall(intptr_t, intptr_t, const char *, const void *, size_t)');
    loaded = {
      socket: libc.func('int socket(int, int, int)'),
      bind: libc.func('int bind(int, const void *, uint32_t)'),
      connect: libc.func('int connect(int, const void *, uint32_t)'),
      setsockopt: libc.func('int setsockopt(int, int, int, const void *, uint32_t)'),
      getsockopt(fd, level, option, into) {
        const length = Buffer.alloc(4);
        writeU32(length, 0, into.length);
        return getsockopt(fd, level, option, into, length) === 0 ? readU32(length, 0) : -1;
      },
      sendto: libc.func('intptr_t sendto(int, const void *, size_t, int, const void *, uint32_t)'),
      recvfrom: libc.func('intptr_t recvfrom(int, void *, size_t, int, void *, void *)'),
      attachFilter(fd, instructions) {
        const value = { length: lengthOf(instructions), instructions };
        return attach(fd, SOL_SOCKET, SO_ATTACH_FILTER, value, programBytes);
      },
      fcntl: (fd, command, value) => fcntl(fd, command, 'int', value),
      flock: libc.func('int flock(int, int)'),
      openat2: (folder, path, how) => openat2(SYS_OPENAT2, folder, path, how, how.length),
      lgetxattr: libc.func('intptr_t lgetxattr(const void *, const char *, void *, size_t)'),
      getxattr: libc.func('intptr_t getxattr(const char *, const char *, void *, size_t)'),
      clockGettime: libc.func('int clock_gettime(int, void *)'),
      errno: () => koffi.errno(),
      mallocTrim: mallocTrimOf(libc),
      madvise: libc.func('int madvise(uintptr_t, size_t, int)'),
      exit: libc.func('void _exit(int)'),
    };
    return loaded;
  } catch (cause) {
    throw new AgentError(
      'SOCKET_UNAVAILABLE',
      `Native system calls are unavailable: koffi cannot be loaded (${messageOf(cause).split('\n')[0]}).`,
      'Install the package @koromix/koffi-linux-* of this architecture beside koffi.',
      { cause },
    );
  }
}

/** glibc only. */
function mallocTrimOf(libc: import('koffi').LibraryHandle): (pad: number) => number {
  try {
    return libc.func('int malloc_trim(size_t)');
  } catch {
    return () => 0;
  }
}

let isMissing = false;

/** Like `systemCalls`, for what has another way: `undefined` when koffi has no binary for this platform. */
export function optionalSystemCalls(): SystemCalls | undefined {
  if (isMissing) return undefined;
  try {
    return systemCalls();
  } catch {
    isMissing = true; // looking for koffi again and again would cost more than the call itself
    return undefined;
  }
}

/**
 * Ends this process without waiting for its threads, as Node's exit does: the kernel may never answer one of them.
 *
 * Without native code it ends by SIGTERM, which service managers take for a clean end, and which the kernel keeps from the
 * first process of a container.
 */
export function exitAtOnce(status: number): void {
  optionalSystemCalls()?.exit(status);
  process.removeAllListeners('SIGTERM');
  process.kill(process.pid, 'SIGTERM');
}

/** Terminates a string in C. */
const END = Buffer.alloc(1);

/**
 * How to find out whether a file has capabilities(7). A symbolic link at the end of the path is not followed. A file that
 * is gone, or whose file system has no such attributes, has none.
 *
 * @returns `undefined` when koffi has no binary for this platform
 */
export function fileCapabilities(): ((path: Buffer) => boolean) | undefined {
  try {
    const { lgetxattr } = systemCalls();
    return (path) => lgetxattr(Buffer.concat([path, END]), 'security.capability', null, 0) >= 0;
  } catch (error) {
    if (error instanceof AgentError && error.id === 'SOCKET_UNAVAILABLE') return undefined;
    throw error;
  }
}

/** From linux/time.h. */
const CLOCK_BOOTTIME = 7;
/** Size of the longest `struct timespec`: two numbers of 64 bits. */
const TIMESPEC_BYTES = 16;

/**
 * The time since boot, with the time in which the machine was suspended; `undefined` when koffi has no binary for this
 * platform. os.uptime() is of no use: it reads /proc/uptime, which is a file of lxcfs in containers of LXC and Incus. That
 * can block or fail, and then os.uptime() returns the time since the boot of the host instead of the container's.
 */
export function sinceBoot(): Duration | undefined {
  const time = Buffer.alloc(TIMESPEC_BYTES);
  if (optionalSystemCalls()?.clockGettime(CLOCK_BOOTTIME, time) !== 0) return undefined;
  // The nanoseconds are in the second word on 32-bit platforms whose time has 32 bits, elsewhere in the third; the other is 0.
  const nanoseconds = readU32(time, 4) + readU32(time, 8);
  return milliseconds(readU32(time, 0) * 1_000 + nanoseconds / 1e6);
}
