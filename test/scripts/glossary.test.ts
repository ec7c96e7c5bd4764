import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const [, section = ''] = readFileSync('src/README.md', 'utf8').split(/^## Words$/m);
const [words = ''] = section.split(/^## /m);
const rows = words.split('\n').filter((line) => line.startsWith('| ') && !line.startsWith('| ---'));
const sources = readdirSync('src', { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .map((file) => readFileSync(join('src', file), 'utf8'))
  .join('\n');

/** Names of the code in the last column, and paths. */
const named = rows.flatMap((row) =>
  [...(row.split('|').at(-2) ?? '').matchAll(/`([^`]+)`/g)].map(([, name = '']) => name),
);

describe('the glossary in src/README.md', () => {
  it('has words, and names from the code', () => {
    assert.ok(rows.length > 25, `${rows.length} rows`);
    assert.ok(named.length > 25, `${named.length} names`);
  });

  it('names only what the code declares', () => {
    const isDeclared = (name: string) =>
      name.includes('/')
        ? existsSync(join('src', name))
        : new RegExp(`\\b(?:class|interface|type|const|function) ${name}\\b`).test(sources);
    assert.deepEqual(
      named.filter((name) => !isDeclared(name)),
      [],
    );
  });

  it('explains every word once', () => {
    const explained = rows.slice(1).flatMap((row) => (row.split('|')[1] ?? '').split(',').map((word) => word.trim()));
    assert.deepEqual(explained.toSorted(), [...new Set(explained)].toSorted());
  });
});
