import assert from 'node:assert/strict';
import { crash } from './crash.ts';

/** Seed, also for manual runs. It is always the same, while timing is random. */
const SEED = 4;

/** More kills in `npm run test:release`. */
export const kills = (inRelease: number, otherwise: number): number =>
  process.env.VAKT_RELEASE === '1' ? inRelease : otherwise;

/** Kills agents, and asserts that there are no violations. @returns the counts, and the printed lines */
export async function killed(options: Omit<Parameters<typeof crash>[0], 'seed' | 'say'>) {
  const lines: string[] = [];
  const { total, violations } = await crash({ ...options, seed: SEED, say: (line) => lines.push(line) });
  assert.deepEqual(violations, [], lines.join('\n'));
  process.stderr.write(`      ${lines.at(-1)}\n`);
  return { ...total.counts, runs: total.runs, also: total.also, lines: lines.join('\n') };
}
