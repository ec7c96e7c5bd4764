import assert from 'node:assert/strict';
import fc from 'fast-check';
import { stableId } from '../../../src/core/base/stable-id.ts';

describe('stableId', () => {
  it('stableId returns a UUID of version 8 for any string', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        assert.match(stableId(text), /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
      }),
    );
  });
  it('stableId returns the same id for the same string', () =>
    assert.equal(stableId('agent boot 1'), stableId('agent boot 1')));
  it('stableId returns different ids for different strings', () =>
    assert.notEqual(stableId('agent boot 1'), stableId('agent boot 2')));
});
