import { createRequire } from 'node:module';
import { AgentError, messageOf } from '../../base/errors.ts';
import { lengthOf } from './socket-filter.ts';

/** Of asm-generic/socket.h; the same wherever Node runs. */
const SOL_SOCKET = 1;
const SO_ATTACH_FILTER = 26;

/** System calls that Node has no function for. Each returns -1 when it fails; `errno()` says why, if asked at once. */
interface SystemCalls {
  socket(family: number, type: number, protocol: number): number;
  bind(fd: number, address: Buffer, length: number): number;
  setsockopt(fd: number, level: number, option: number, value: Buffer, length: number): number;
  sendto(fd: number, data: Buffer, bytes: number, flags: number, address: Buffer, length: number): number;
  /** Has the kernel run a classic BPF program on each datagram; see SO_ATTACH_FILTER in socket(7). */
  attachFilter(fd: number, program: Buffer): number;
  /** See flock(2). */
  flock(fd: number, operation: number): number;
  /** See getxattr(2): of a link it is the link's own. Asked for no bytes, it says how many there are. */
  lgetxattr(path: string, name: string, value: null, bytes: 0): number;
  errno(): number;
  /** Gives freed memory back to the system, where the C library is glibc; see malloc_trim(3). */
  mallocTrim(pad: number): number;
  /** See madvise(2). What pages hold that no file holds may be lost. */
  madvise(address: number, bytes: number, advice: number): number;
}

let loaded: SystemCalls | undefined;

/**
 * Loaded at the first need: a board without a binary of koffi's still runs everything that needs none of them.
 *
 * @throws AgentError SOCKET_UNAVAILABLE when koffi has no binary here
 */
export function systemCalls(): SystemCalls {
  if (loaded !== undefined) return loaded;
  try {
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
    const libc = koffi.load(null); // this process: Node is linked against the C library, whichever it is
    // struct sock_fprog of linux/filter.h: it holds an address, which no Buffer of ours could.
    const program = koffi.struct({ length: 'uint16_t', instructions: 'const uint8_t *' });
    const programBytes = koffi.sizeof(program);
    const attach = libc.func('setsockopt', 'int', ['int', 'int', 'int', koffi.pointer(program), 'uint32_t']);
    loaded = {
      socket: libc.func('int socket(int, int, int)'),
      bind: libc.func('int bind(int, const void *, uint32_t)'),
      setsockopt: libc.func('int setsockopt(int, int, int, const void *, uint32_t)'),
      sendto: libc.func('intptr_t sendto(int, const void *, size_t, int, const void *, uint32_t)'),
      attachFilter(fd, instructions) {
        const value = { length: lengthOf(instructions), instructions };
        return attach(fd, SOL_SOCKET, SO_ATTACH_FILTER, value, programBytes);
      },
      flock: libc.func('int flock(int, int)'),
      lgetxattr: libc.func('intptr_t lgetxattr(const char *, const char *, void *, size_t)'),
      errno: () => koffi.errno(),
      mallocTrim: mallocTrimOf(libc),
      madvise: libc.func('int madvise(uintptr_t, size_t, int)'),
    };
    return loaded;
  } catch (cause) {
    throw new AgentError(
      'SOCKET_UNAVAILABLE',
      `System calls can't be made: koffi doesn't load (${messageOf(cause).split('\n')[0]}).`,
      'Install the package @koromix/koffi-linux-* of this architecture beside koffi.',
      { cause },
    );
  }
}

/** Only glibc has it. */
function mallocTrimOf(libc: import('koffi').LibraryHandle): (pad: number) => number {
  try {
    return libc.func('int malloc_trim(size_t)');
  } catch {
    return () => 0;
  }
}
