import { systemClock } from '../../../src/core/base/clock.ts';
import { Cell, type Result, type Senseless } from './cell.ts';
import { SITUATIONS, type Situation } from './plans.ts';
import type { SiteName } from './sites.ts';

export interface TableOptions {
  readonly sites: readonly SiteName[];
  readonly situations: readonly Situation[];
  /** Agents at a time. */
  readonly parallel: number;
  readonly say: (line: string) => void;
}

/**
 * Runs an agent of each kind in each situation, and prints Markdown tables.
 *
 * @returns whether all results are correct
 */
export async function runTable({ sites, situations, parallel, say }: TableOptions): Promise<boolean> {
  const began = systemClock.monotonic();
  const cells = sites.flatMap((site) => situations.map((situation) => ({ site, situation })));
  const results: (Result | Senseless)[] = [];
  const waiting = cells.entries();
  const work = async () => {
    for (const [number, { site, situation }] of waiting) {
      const result = await Cell.run(site, situation, say);
      results[number] = result;
      if ('seconds' in result) say(`${number + 1}/${cells.length} ${site}, ${situation}: ${brief(result)}`);
    }
  };
  await Promise.all(Array.from({ length: parallel }, work));
  for (const line of markdown(results, sites, situations)) say(line);
  const failed = results.filter((one) => 'violations' in one && one.violations.length > 0);
  const minutes = ((systemClock.monotonic() - began) / 60_000).toFixed(1);
  say(`${results.filter((one) => 'seconds' in one).length} situations in ${minutes} min; ${failed.length} failed`);
  return failed.length === 0;
}

function markdown(results: readonly (Result | Senseless)[], sites: readonly SiteName[], columns: readonly Situation[]) {
  const row = (cells: readonly string[]) => `| ${cells.map(escaped).join(' | ')} |`;
  const at = (site: SiteName, situation: Situation) =>
    results.find((one) => one.site === site && one.situation === situation);
  const lines = ['', row(['kind', ...columns]), row(['---', ...columns.map(() => '---')])];
  for (const site of sites) lines.push(row([site, ...columns.map((column) => brief(at(site, column)))]));
  lines.push('', row(['kind', 'situation', 'said', 'did', 'connected after']), row(Array(5).fill('---')));
  for (const one of results) {
    if ('because' in one) continue;
    const said = one.said.length === 0 ? 'nothing' : one.said.map(shortened).join('; ');
    lines.push(row([one.site, one.situation, said, one.did.join('; '), brief(one)]));
  }
  lines.push('', ...reasons(results));
  for (const one of results) {
    if (!('violations' in one)) continue;
    for (const violation of one.violations) lines.push(`FAILED: ${one.site}, ${one.situation}: ${violation}`);
  }
  return lines;
}

/** Each reason once, with the kinds that it applies to. */
function reasons(results: readonly (Result | Senseless)[]): string[] {
  const kinds = new Map<string, SiteName[]>();
  for (const one of results) {
    if (!('because' in one)) continue;
    const key = `${one.situation}: ${one.because}`;
    kinds.set(key, [...(kinds.get(key) ?? []), one.site]);
  }
  return [...kinds].map(([reason, names]) => `- –, ${reason} (${names.join(', ')})`);
}

function brief(one: Result | Senseless | undefined): string {
  if (one === undefined || 'because' in one) return '–';
  const took = Number.isNaN(one.seconds) ? '' : `${one.seconds.toFixed(1)} s (≤ ${one.limit})`;
  return one.violations.length === 0 ? took : `FAILED ${took}`;
}

const MAX_LINE_CHARACTERS = 160;
/** Ports differ each time. */
const shortened = (text: string): string => {
  const steady = text.replaceAll(/localhost:\d+/g, 'localhost').replaceAll(/\/tmp\/vakt-test-\w+\//g, '');
  return steady.length > MAX_LINE_CHARACTERS ? `${steady.slice(0, MAX_LINE_CHARACTERS)}…` : steady;
};

const escaped = (text: string): string => text.replaceAll(/\s+/g, ' ').replaceAll('|', '\\|');

export const isSituation = (text: string): text is Situation => SITUATIONS.some((one) => one === text);
