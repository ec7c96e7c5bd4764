import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from './folders.ts';

/** A module for Node's option `--require` that makes loading the native module koffi fail. In a temporary folder. */
export function withoutKoffi(): string {
  const preload = join(temporaryFolder(), 'without-koffi.cjs');
  writeFileSync(
    preload,
    `const { Module } = require('node:module');
     const resolve = Module._resolveFilename;
     Module._resolveFilename = (name, ...rest) => {
       if (name === 'koffi') throw new Error('there is no koffi');
       return resolve(name, ...rest);
     };`,
  );
  return preload;
}
