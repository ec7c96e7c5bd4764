import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { EXIT_STATUS, FAILURES } from '../../src/core/base/errors.ts';

const PAGE = readFileSync('TROUBLESHOOTING.md', 'utf8');

/** Sentences that the agent logs as a warning or an error. */
const logged = (text: string): string[] =>
  [
    ...text.matchAll(
      /[lL]og\??\.(?:warn|error)\(\s*(?:\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\},\s*)?(['"`])([A-Z][^\n]*?\.)\1/g,
    ),
  ].map(([, , line = '']) => line);

describe('TROUBLESHOOTING.md', () => {
  it('lists the category, log line and remedy of every error', () => {
    for (const [id, [code, reason]] of Object.entries(FAILURES)) {
      const row = PAGE.split('\n').find((line) => line.startsWith(`| \`${id}\` |`));
      assert.ok(row?.includes(`| ${code}, ${reason} |`), id);
      const [, , , exit = '', remedy = ''] = row?.split('|') ?? [];
      assert.ok(remedy.trim() !== '', id);
      if (exit.trim() !== '') assert.match(exit, new RegExp(`^ ${EXIT_STATUS[code]}\\b`));
    }
  });

  it('lists no unknown or repeated error', () => {
    const ids = [...PAGE.matchAll(/^\| `([A-Z_0-9]+)` \|/gm)].map(([, id]) => id);
    assert.deepEqual(ids.toSorted(), Object.keys(FAILURES).toSorted());
  });

  it('has every line that is logged as a warning or an error', () => {
    const files = readdirSync('src', { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
    const lines = files.flatMap((file) => logged(readFileSync(join('src', file), 'utf8')));
    assert.ok(lines.length > 30);
    const missing = [...new Set(lines)].filter((line) => !PAGE.includes(`\`${line}\``));
    assert.deepEqual(missing, []);
  });

  it('has none that is logged no more', () => {
    const sources = readdirSync('src', { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .map((file) => readFileSync(join('src', file), 'utf8'))
      .join('\n');
    const [, second = ''] = PAGE.split('\n## Log lines while the agent runs\n');
    assert.notEqual(second, '');
    const logLines = [...second.matchAll(/`([A-Z][^`]*\.)`/g)].map(([, line = '']) => line);
    assert.deepEqual(
      logLines.filter((line) => !sources.includes(line)),
      [],
    );
  });
});
