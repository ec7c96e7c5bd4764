import { closeSync, constants, openSync, readSync } from 'node:fs';
import { inRoot } from './in-root.ts';

/** Where a program names its loader: after the program headers, at the beginning. */
const BEGINNING_BYTES = 4_096;

/** The C library of a system, by which its programs read and write files of accounts and logins. */
export interface CLibrary {
  /** Otherwise it counts as glibc. */
  readonly isMusl: boolean;
}

export const GLIBC: CLibrary = { isMusl: false };

/** The C library of the programs below the root: the loader that /bin/sh names, `/lib/ld-musl-x86_64.so.1`, is a part of it. */
export function cLibraryOf(hostRoot: string): CLibrary {
  try {
    const file = openSync(inRoot(hostRoot, 'bin/sh'), constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const bytes = Buffer.alloc(BEGINNING_BYTES);
      readSync(file, bytes, 0, bytes.length, 0);
      return { isMusl: bytes.includes('/ld-musl-') };
    } finally {
      closeSync(file);
    }
  } catch {
    return GLIBC; // without a shell: what most systems use
  }
}
