import { spawn } from 'node:child_process';
import { writeSync } from 'node:fs';
import { errnoOf } from '../../../src/core/base/errors.ts';
import { nextTurn } from '../../../src/core/base/waiting.ts';

/** Says a number on standard output before anything else is done, however slow whoever listens may be. */
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
 * Runs a script that tells numbers until it is killed, so long after the first of them.
 *
 * @returns the last number it told; rejects when it ended in any other way
 */
export function runUntilKilled(script: string, folder: string, afterMs: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [script, folder], { stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    child.stdout.once('data', () => setTimeout(() => child.kill('SIGKILL'), afterMs));
    child.stdout.on('data', (data) => {
      said += data;
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      if (signal === 'SIGKILL') resolve(Number(said.split('\n').at(-2) ?? 0));
      else reject(new Error(`The process ended by itself, with ${code ?? signal}.`));
    });
  });
}
