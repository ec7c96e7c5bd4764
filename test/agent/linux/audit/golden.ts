import { readFileSync } from 'node:fs';

export interface GoldenRecord {
  readonly type: number;
  /** With the header. */
  readonly text: string;
}

/** Records that `npm run capture -- audit` took from a real kernel. */
export const golden: readonly GoldenRecord[] = readFileSync('test/golden/debian13-6.18/audit-exec.txt', 'latin1')
  .split('\n')
  .filter((line) => line !== '')
  .map((line) => ({ type: Number(line.slice(0, 4)), text: line.slice(5) }));
