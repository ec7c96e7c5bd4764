import { closeSync, constants, openSync, readSync } from 'node:fs';
import { inRoot } from '../../base/in-root.ts';

/** Where a program names its loader: after the program headers, at the beginning. */
const BEGINNING_BYTES = 4_096;

/** Whether the programs below the root use musl: the loader that /bin/sh names, `/lib/ld-musl-x86_64.so.1`, is its part. */
export function usesMusl(hostRoot: string): boolean {
  try {
    const file = openSync(inRoot(hostRoot, 'bin/sh'), constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const bytes = Buffer.alloc(BEGINNING_BYTES);
      readSync(file, bytes, 0, bytes.length, 0);
      return bytes.includes('/ld-musl-');
    } finally {
      closeSync(file);
    }
  } catch {
    return false; // without a shell: what most systems use
  }
}
