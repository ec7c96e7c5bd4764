import assert from 'node:assert/strict';
import fc from 'fast-check';
import { stableId } from '../../../src/core/base/stable-id.ts';

describe('stableId', () => {
  it('is a UUID of version 8, whatever it is made of', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        assert.match(stableId(text), /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
      }),
    );
  });
  it('is the same for the same text', () => assert.equal(stableId('agent boot 1'), stableId('agent boot 1')));
  it('differs with the text', () => assert.notEqual(stableId('agent boot 1'), stableId('agent boot 2')));
});
