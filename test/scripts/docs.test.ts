import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { EXPENDABLE } from '../../src/agent/status/reported.ts';

describe('pages of events', () => {
  it('lists in docs/contract.md the reported members that are dropped first without enough space, in order', () => {
    const page = readFileSync(new URL('../../../docs/contract.md', import.meta.url), 'utf8');
    const [, parts = ''] = /until the rest fits: ([\s\S]*?), then the largest/.exec(page) ?? [];
    assert.deepEqual(
      [...parts.matchAll(/`([\w.]+)`/g)].map(([, part]) => part),
      EXPENDABLE,
    );
  });
});
