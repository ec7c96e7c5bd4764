import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findTool } from '../../src/agent/host/run-tool.ts';
import type { Rule } from '../agent/config/system-call-filter.ts';
import { suiteFolder } from '../harness/folders.ts';

const SOURCES = new URL('../../../test/system/native/', import.meta.url).pathname;

/** Runs programs under system-call filters by native/under-filter.c, which is compiled for the tests. */
export class UnderFilter {
  readonly #folder = suiteFolder();
  #made = 0;

  /** The tools or headers that are missing to compile it. */
  static missing(): string | undefined {
    if (findTool('gcc') === undefined) return 'there is no gcc';
    return existsSync('/usr/include/seccomp.h') ? undefined : 'libseccomp-dev is not installed';
  }

  /** @throws AssertionError with the compiler's errors */
  constructor() {
    chmodSync(this.#folder, 0o755); // other users run it, too
    buildNative('under-filter', this.#folder, '-lseccomp');
  }

  /** Returns the command line that runs the program after it under these rules. */
  by(rules: readonly Rule[]): string[] {
    this.#made += 1;
    const file = join(this.#folder, `rules-${this.#made}`);
    writeFileSync(file, `${rules.join('\n')}\n`);
    return [join(this.#folder, 'under-filter'), file];
  }
}

/** Compiles a program of test/system/native. @returns its path @throws AssertionError with the compiler's errors */
export function buildNative(name: string, folder: string, ...options: readonly string[]): string {
  const path = join(folder, name);
  const made = spawnSync('gcc', ['-O1', '-o', path, join(SOURCES, `${name}.c`), ...options], { encoding: 'utf8' });
  assert.equal(made.status, 0, made.stderr);
  return path;
}
