import { randomBytes } from 'node:crypto';
import { join, resolve } from 'node:path';
import { readFileIfThere, writeFileAtomic } from '../core/base/atomic-file.ts';
import { messageOf } from '../core/base/errors.ts';
import { makeFolder } from '../core/base/paths.ts';
import { checkKey } from './identity.ts';
import { StartError } from './start-error.ts';

/** The files in the directory of `vakt emulator`. */
export class KeptFiles {
  readonly directory: string;

  /** @throws the file system's error if the directory cannot be created */
  constructor(directory: string) {
    this.directory = resolve(directory);
    makeFolder(this.directory, 0o700);
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  /** The symmetric key of an earlier run, or a new one. @throws StartError if the file contains no valid key */
  key(name: string): { readonly path: string; readonly key: string } {
    const kept = readFileIfThere(this.path(name))?.trim();
    try {
      if (kept !== undefined) checkKey(kept, this.path(name));
    } catch (error) {
      throw new StartError(`${messageOf(error)}; correct the file, or remove it, so that a new key is made`);
    }
    return this.password(name);
  }

  /** The password of an earlier run or one set by the user, or a new one. */
  password(name: string): { readonly path: string; readonly key: string } {
    const key = readFileIfThere(this.path(name))?.trim() ?? randomBytes(32).toString('base64');
    return { path: this.secret(name, `${key}\n`), key };
  }

  /** Writes a file that only its owner can read. @returns its path */
  secret(name: string, contents: string): string {
    writeFileAtomic(this.path(name), contents);
    return this.path(name);
  }

  /** Writes a file that everyone can read. @returns its path */
  open(name: string, contents: string): string {
    writeFileAtomic(this.path(name), contents, 0o644);
    return this.path(name);
  }
}
