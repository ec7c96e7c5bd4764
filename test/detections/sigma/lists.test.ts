import assert from 'node:assert/strict';
import { SETTINGS } from '../../../src/contract/settings.ts';
import { LISTS } from '../../../src/detections/sigma/lists.ts';

describe('the lists of rules', () => {
  it('are those of the module twin, and the addresses of a local file', () =>
    assert.deepEqual([...LISTS].sort(), [...Object.keys(SETTINGS.detections.lists), 'badAddresses'].sort()));
});
