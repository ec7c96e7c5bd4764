import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';

const PAGE = readFileSync('SECURITY.md', 'utf8');

describe('SECURITY.md', () => {
  it('names existing tests', () => {
    const named = [...PAGE.matchAll(/`(test\/[\w./-]+)`/g)].map(([, path = '']) => path);
    assert.ok(named.length > 60, `${named.length}`);
    assert.deepEqual(
      [...new Set(named)].filter((path) => !existsSync(path)),
      [],
    );
  });

  it('has a test, or a command that runs some, in each row of the threats', () => {
    const [, section = ''] = /^## Threats, answers and tests$([\s\S]*?)^## /m.exec(PAGE) ?? [];
    const rows = section.split('\n').filter((line) => line.startsWith('| ') && !line.startsWith('| threat '));
    assert.ok(rows.length > 40);
    assert.deepEqual(
      rows.filter((row) => !/`(?:test\/|npm )[^`]*`[^|]*\|$/.test(row)),
      [],
    );
  });
});
