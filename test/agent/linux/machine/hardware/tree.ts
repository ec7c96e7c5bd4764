import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/**
 * Makes a tree out of a listing, as `npm run capture -- hardware` writes it: one entry per line, `path -> target` of a link,
 * `path = "bytes"` of a file, `path/` of an empty folder.
 *
 * @returns the folder it is in; give it to `removeTree`
 */
export function makeTree(listing: string): string {
  const root = mkdtempSync(join(tmpdir(), 'vakt-tree-'));
  for (const line of listing.split('\n').filter((text) => text.trim() !== '')) {
    const [, path = '', operator, value = ''] = /^\s*(\S+?)(?: (->|=) (.*))?$/.exec(line) ?? [];
    const full = join(root, path);
    mkdirSync(operator === undefined ? full : dirname(full), { recursive: true });
    if (operator === '->') symlinkSync(value, full);
    if (operator === '=') writeFileSync(full, JSON.parse(value), 'latin1');
  }
  return root;
}

export const removeTree = (root: string): void => rmSync(root, { recursive: true });

/** A listing of test/golden. */
export const goldenListing = (name: string): string => readFileSync(join('test/golden', name), 'utf8');
