import { createRequire } from 'node:module';

/**
 * Whether a filter of system calls (seccomp) keeps this process out of the memory of others, as config/vakt.service and
 * config/seccomp.json do. Tried by process_vm_readv(2), asked for no memory. `undefined`: it can't be tried, since koffi has
 * no binary here, or the C library no such function.
 */
export function isKeptFromOthersMemory(): boolean | undefined {
  try {
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
    const read = koffi.load(null).func('intptr_t process_vm_readv(int, void *, size_t, void *, size_t, size_t)');
    return read(process.pid, null, 0, null, 0, 0) !== 0;
  } catch {
    return undefined;
  }
}
