import assert from 'node:assert/strict';
import fc from 'fast-check';

describe('Property tests', () => {
  // scripts/test.mjs sets it for fast-check, whose default is ten elements at most.
  it('make arrays and texts as long as their maxLength allows', () => {
    for (const arbitrary of [fc.uint8Array({ maxLength: 1_000 }), fc.string({ maxLength: 1_000 })]) {
      const lengths = fc.sample<{ length: number }>(arbitrary, 100).map(({ length }) => length);
      assert.ok(Math.max(...lengths) > 500, `the longest has ${Math.max(...lengths)}`);
    }
  });
});
