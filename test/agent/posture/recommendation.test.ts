import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { RECOMMENDATION_IDS } from '../../../src/agent/posture/recommendation.ts';

const page = readFileSync(new URL('../../../../src/agent/posture/README.md', import.meta.url), 'utf8');

describe('The page about recommendations', () => {
  it('has a row for each, and none for others', () => {
    const rows = [...page.matchAll(/^\| `(\w+)` \|/gm)].map(([, id]) => id);
    assert.deepEqual(rows.toSorted(), [...RECOMMENDATION_IDS].toSorted());
  });
});
