import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { printable, printableJson, shellWord, visible } from '../../../src/core/base/text.ts';
import { fuzzRuns } from '../../fuzz.ts';

describe('printable', () => {
  it('printable replaces C0 and C1 control characters and leaves everything else', () => {
    assert.equal(printable('a\u001b[31m\r\n\u0007\u007f\u009b2J é 日 ✓'), 'a·[31m·····2J é 日 ✓');
  });
});

/** One string per effect: reversed text, zero width, line ends, tags, variation selectors, invisible glyphs. */
const HIDDEN = [
  '\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c',
  '\u200b\u200c\u200d\u2060\u2061\ufeff\u00ad\u034f\u180e',
  '\u2028\u2029',
  '\u{e0001}\u{e0041}\u{e007f}',
  '\ufe00\ufe0f\u{e0100}\u{e01ef}\u180b',
  '\u115f\u3164\uffa0\u2800\ufff9\u{1d173}',
  '\ue000\u{f0000}\u0378\ud800',
].join('');

describe('printable, of what a terminal does not show', () => {
  it('printable replaces each invisible character by its code point', () => {
    assert.equal(printable('a\u202egnp.exe'), 'a<U+202E>gnp.exe');
    assert.equal(printable('a\u200bb\u{e0041}\u00ad'), 'a<U+200B>b<U+E0041><U+00AD>');
    for (const char of HIDDEN) assert.match(printable(char), /^<U\+[0-9A-F]{4,6}>$/);
  });

  it('printable leaves letters, marks and signs of all scripts unchanged', () => {
    const text = 'é e\u0301 日本 עברית العربية हिन्दी ไทย ✓ € 😀 \u00a0';
    assert.equal(printable(text), text);
  });
});

describe('printableJson', () => {
  it('printableJson escapes invisible characters and keeps the JSON value', () => {
    const value = { name: HIDDEN, [HIDDEN]: ['😀 é', HIDDEN] };
    const text = printableJson(JSON.stringify(value));
    assert.equal(visible(text), text);
    assert.deepEqual(JSON.parse(text), value);
  });

  it('printableJson escapes the control characters that JSON.stringify leaves, and keeps the JSON value', () => {
    const value = { name: '\u001b[2J \u007f\u0080\u009b\u009f é\n' };
    const text = printableJson(JSON.stringify(value, null, 2));
    assert.doesNotMatch(text.replaceAll('\n', ''), /\p{Cc}/u);
    assert.deepEqual(JSON.parse(text), value);
  });
});

const NASTY = [
  "'",
  '"',
  '$(id)',
  '`id`',
  ' ',
  '\\',
  '*',
  '~',
  '-rf',
  '#',
  ';',
  '\n',
  '\t',
  '\u202e',
  '\u200b',
  '$',
  '!',
  'ä',
  '€',
];

/** The arguments that a shell passes to a command if these words are pasted. */
const pasted = (texts: readonly string[]): string[] =>
  execFileSync('bash', ['-c', `printf '%s\\0' ${texts.map(shellWord).join(' ')}`], { encoding: 'utf8' })
    .split('\0')
    .slice(0, -1);
const asPath = (text: string) => (text.startsWith('-') ? `./${text}` : text);

describe('shellWord', () => {
  it('shellWord returns one shell word with the same characters for any string', () => {
    const part = fc.oneof(fc.constantFrom(...NASTY), fc.string({ unit: 'binary' }));
    const text = fc
      .array(part, { maxLength: 12 })
      .map((parts) => Buffer.from(parts.join('').replaceAll('\0', '')).toString());
    const texts = fc.sample(text, { numRuns: fuzzRuns(3_000), seed: 14 });
    assert.deepEqual(pasted(texts), texts.map(asPath));
  });

  it('shellWord needs only a POSIX shell for a string without control characters', () => {
    const text = "/etc/it's mine/$HOME `id`/*";
    assert.equal(execFileSync('dash', ['-c', `printf %s ${shellWord(text)}`], { encoding: 'utf8' }), text);
  });

  it('shellWord returns no control or invisible characters', () => {
    for (const text of NASTY) assert.doesNotMatch(shellWord(text), /[\p{Cc}\p{Cf}]/u);
  });

  it('shellWord quotes a path so that it is not parsed as an option', () => assert.equal(shellWord('-rf'), "'./-rf'"));

  it('shellWord quotes every path in the commands that remedies contain', () => {
    const sources = readdirSync('src', { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
    const commands = sources.flatMap((file) =>
      [...readFileSync(join('src', file), 'utf8').matchAll(/\b(?:chmod|chown|umask) [^`]*`/g)].map(([text]) => ({
        file,
        text,
      })),
    );
    assert.ok(commands.length > 8, String(commands.length));
    const bare = /\$\{(?!shellWord\()[^}]*(?:path|file|folder|directory)[^}]*\}/i;
    assert.deepEqual(
      commands.filter(({ text }) => bare.test(text)),
      [],
    );
  });
});
