import assert from 'node:assert/strict';
import fc from 'fast-check';

describe('Property tests', () => {
  // scripts/mocha.mjs configures fast-check for this; its default is at most ten elements.
  it('fast-check generates arrays and strings up to their maxLength', () => {
    for (const arbitrary of [fc.uint8Array({ maxLength: 1_000 }), fc.string({ maxLength: 1_000 })]) {
      const lengths = fc.sample<{ length: number }>(arbitrary, 100).map(({ length }) => length);
      assert.ok(Math.max(...lengths) > 500, `the longest has ${Math.max(...lengths)}`);
    }
  });
});
