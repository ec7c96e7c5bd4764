import { createHash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';

/** The file with V8's code cache, next to the program; `vakt make-code-cache` writes it. */
export const CODE_CACHE_FILE = 'program.cache';

/** How `vakt make-code-cache` requests that a program write its sealed code cache to a descriptor when it exits. */
export const MAKES_CODE_CACHE = { variable: 'VAKT_CODE_CACHE', value: 'write', descriptor: 3 } as const;

/** A program and its main module are bundled separately: this is the only variable that they share. */
const USED = Symbol.for('vakt.codeCache');

/** Stores for the program whether V8 accepted its code cache. */
export function tellUse(isUsed: boolean): void {
  Reflect.set(globalThis, USED, isUsed);
}

/** Whether V8 runs this program from a code cache; `undefined` in a clone, which has none. */
export const usesCodeCache = (): boolean | undefined => Reflect.get(globalThis, USED) as boolean | undefined;

/** The digest of a program for `sealCodeCache` and `readCodeCache`: SHA-256 in hexadecimal. */
export const programDigest = (source: string | Uint8Array): string => createHash('sha256').update(source).digest('hex');

/**
 * V8's cached data with a digest in front. V8 itself accepts data with a changed byte, and can then crash (tried with
 * Node 20.20 and 24.21).
 *
 * @param program `programDigest` of the source that was compiled
 */
export const sealCodeCache = (data: Uint8Array, program: string): Buffer =>
  Buffer.concat([digestOf(data, program), data]);

/** The cached data from `sealCodeCache`; `undefined` if it is damaged, or for another program or another Node. */
export function unsealCodeCache(sealed: Buffer, program: string): Buffer | undefined {
  const data = sealed.subarray(DIGEST_BYTES);
  return digestOf(data, program).equals(sealed.subarray(0, DIGEST_BYTES)) ? data : undefined;
}

/**
 * Reads a code cache; `undefined` if there is no matching one. Since it is code, the file must belong to root or the
 * program's owner, and no other user may be able to write to it. Never throws: the program also runs without a cache.
 *
 * @param owner the uid that owns the program
 */
export function readCodeCache(file: string, program: string, owner: number): Buffer | undefined {
  try {
    const descriptor = openSync(file, 'r');
    try {
      const { mode, uid } = fstatSync(descriptor);
      const isTrusted = (uid === 0 || uid === owner) && (mode & OTHERS_WRITE) === 0;
      return isTrusted ? unsealCodeCache(readFileSync(descriptor), program) : undefined;
    } finally {
      closeSync(descriptor);
    }
  } catch {
    return undefined;
  }
}

const DIGEST_BYTES = 32;
const OTHERS_WRITE = 0o022;

const digestOf = (data: Uint8Array, program: string): Buffer =>
  createHash('sha256').update(`${program} ${process.version} ${process.arch}\n`).update(data).digest();
