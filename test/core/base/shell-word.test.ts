import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { shellWord } from '../../../src/core/base/shell-word.ts';

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

/** What a shell makes of them, pasted as arguments of one command. */
const pasted = (texts: readonly string[]): string[] =>
  execFileSync('bash', ['-c', `printf '%s\\0' ${texts.map(shellWord).join(' ')}`], { encoding: 'utf8' })
    .split('\0')
    .slice(0, -1);
const asPath = (text: string) => (text.startsWith('-') ? `./${text}` : text);

describe('shellWord', () => {
  it('is one word with the same text, for any text', () => {
    const part = fc.oneof(fc.constantFrom(...NASTY), fc.string({ unit: 'binary' }));
    const text = fc
      .array(part, { maxLength: 12 })
      .map((parts) => Buffer.from(parts.join('').replaceAll('\0', '')).toString());
    const texts = fc.sample(text, { numRuns: 300, seed: 14 });
    assert.deepEqual(pasted(texts), texts.map(asPath));
  });

  it('needs no shell but a POSIX one, unless the text has control characters', () => {
    const text = "/etc/it's mine/$HOME `id`/*";
    assert.equal(execFileSync('dash', ['-c', `printf %s ${shellWord(text)}`], { encoding: 'utf8' }), text);
  });

  it('shows nothing that a terminal would obey or hide', () => {
    for (const text of NASTY) assert.doesNotMatch(shellWord(text), /[\p{Cc}\p{Cf}]/u);
  });

  it('is no option', () => assert.equal(shellWord('-rf'), "'./-rf'"));

  it('is what every path is written by in a command that a person is told to run', () => {
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
