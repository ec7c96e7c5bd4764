import assert from 'node:assert/strict';
import { LISTS } from '../../../../src/agent/detections/sigma/lists.ts';
import { SETTINGS } from '../../../../src/core/contract/settings.ts';

describe('the lists of rules', () => {
  it('come from the module twin and a local file', () =>
    assert.deepEqual([...LISTS].sort(), [...Object.keys(SETTINGS.detections.lists), 'badAddresses'].sort()));
});
