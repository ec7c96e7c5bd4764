import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { publishedName, type SettingKey } from '../../../src/core/contract/settings.ts';
import { PUBLISHED_OBJECT } from '../../../src/core/twin/published-object.ts';
import { properties } from './published.ts';

/* Messages get the module twin's names for settings from the table, so that another dialect can replace them. */

const TABLE = 'src/core/contract/settings.ts';
const DIALECT = 'src/core/twin/published-object.ts';

const keys = [...new Set(properties.map(({ key }) => key))];
/** Prefixes of the names that contain an event. */
const nameOf = (key: SettingKey) => publishedName(key);
/** These are nothing but names of the wire. */
const FOREIGN = keys.filter((key) => nameOf(key) !== key).map(nameOf);
/** Names that settings also have: code may use them, but messages must not. */
const SHARED = keys.filter((key) => nameOf(key) === key);

const LITERAL = /'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`/g;
const COMMENT = /\/\*[\s\S]*?\*\/|(?<![:'"`])\/\/[^\n]*/g;

/** Names of the wire in a file: foreign ones anywhere, including comments; shared ones in strings. */
function wireNames(text: string): string[] {
  const foreign = new RegExp(`\\b(?:${FOREIGN.join('|')})|${PUBLISHED_OBJECT}`, 'g');
  const shared = new RegExp(`\\b(?:${SHARED.join('|')})\\b`);
  const texts = [...text.replace(COMMENT, '').matchAll(LITERAL)]
    .map(([literal]) => literal.slice(1, -1).replace(/\$\{[^}]*\}/g, ''))
    .filter((literal) => shared.test(literal) && !SHARED.some((key) => key === literal.replace(/\.\w*$/, '')));
  return [...[...text.matchAll(foreign)].map(([name]) => name), ...texts];
}

const read = (path: string) => readFileSync(path, 'utf8');

describe('Names of the module twin', () => {
  const files = readdirSync('src', { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => join('src', file));

  it('occur in the table and the dialect only', () => {
    assert.ok(files.includes(TABLE) && files.includes(DIALECT) && files.length > 100);
    const found = files
      .filter((path) => path !== TABLE && path !== DIALECT)
      .flatMap((path) => wireNames(read(path)).map((name) => `${path}: ${name}`));
    assert.deepEqual(found, []);
  });

  it('the search finds the names where they are', () => {
    const found = [TABLE, DIALECT].flatMap((path) => wireNames(read(path)));
    for (const name of [...FOREIGN, PUBLISHED_OBJECT]) assert.ok(found.includes(name), name);
    assert.ok(FOREIGN.includes('eventPriority') && SHARED.includes('snapshotFrequency'));
  });
});
