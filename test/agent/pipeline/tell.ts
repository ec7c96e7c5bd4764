import { spawn } from 'node:child_process';
import { writeSync } from 'node:fs';
import { errnoOf } from '../../../src/core/base/errors.ts';
import { nextTurn } from '../../../src/core/base/waiting.ts';

/** Writes a number to standard output and waits until it is written, even if the reader is slow. */
export async function tell(n: number): Promise<void> {
  for (;;) {
    try {
      writeSync(1, `${n}\n`);
      return;
    } catch (error) {
      if (errnoOf(error) !== 'EAGAIN') throw error; // a pipe of Node's does not block
    }
    await nextTurn();
  }
}

/**
 * Runs a script that prints numbers, and kills it the given time after the first of them.
 *
 * @returns the last printed number; rejects if the script ended in any other way
 */
export function runUntilKilled(script: string, folder: string, afterMs: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [script, folder], { stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    child.stdout.once('data', () => setTimeout(() => child.kill('SIGKILL'), afterMs));
    child.stdout.on('data', (data) => {
      output += data;
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      if (signal === 'SIGKILL') resolve(Number(output.split('\n').at(-2) ?? 0));
      else reject(new Error(`The process ended by itself, with ${code ?? signal}.`));
    });
  });
}
