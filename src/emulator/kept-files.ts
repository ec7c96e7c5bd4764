import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { readFileIfThere, writeFileAtomic } from '../base/atomic-file.ts';

/** The files in the directory of `vakt emulator`. */
export class KeptFiles {
  readonly directory: string;

  /** @throws the file system's error if the directory cannot be created */
  constructor(directory: string) {
    this.directory = resolve(directory);
    mkdirSync(this.directory, { recursive: true, mode: 0o700 });
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  /** The symmetric key of an earlier run, or a new one. */
  key(name: string): { readonly path: string; readonly key: string } {
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
