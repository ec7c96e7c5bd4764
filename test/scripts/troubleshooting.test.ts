import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { EXIT_STATUS, FAILURES } from '../../src/core/base/errors.ts';

const PAGE = readFileSync('TROUBLESHOOTING.md', 'utf8');

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
});
