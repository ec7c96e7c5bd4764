import { createRequire } from 'node:module';
import { AgentError, messageOf } from '../base/errors.ts';

/** System calls that Node has no function for. Each returns -1 when it fails; `errno()` says why, if asked at once. */
interface SystemCalls {
  socket(family: number, type: number, protocol: number): number;
  bind(fd: number, address: Buffer, length: number): number;
  setsockopt(fd: number, level: number, option: number, value: Buffer, length: number): number;
  /** See flock(2). */
  flock(fd: number, operation: number): number;
  errno(): number;
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
    loaded = {
      socket: libc.func('int socket(int, int, int)'),
      bind: libc.func('int bind(int, const void *, uint32_t)'),
      setsockopt: libc.func('int setsockopt(int, int, int, const void *, uint32_t)'),
      flock: libc.func('int flock(int, int)'),
      errno: () => koffi.errno(),
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
