import assert from 'node:assert/strict';
import { evidenceOf } from '../../../../src/agent/detections/alerts/evidence.ts';
import type { KeptAlert } from '../../../../src/agent/detections/alerts/kept-alert.ts';
import { OpenAlerts } from '../../../../src/agent/detections/alerts/open-alerts.ts';
import { hours, milliseconds } from '../../../../src/core/base/duration.ts';
import { hit } from './samples.ts';

const alert = (count = 1): KeptAlert => ({
  ...evidenceOf(hit(), 'T', { redact: true }),
  ...{ alertId: '9a0d3c4e-0000-4000-8000-000000000001', count, first: 0, last: 0 },
});

describe('OpenAlerts', () => {
  const now = milliseconds(hours(1));

  it('closes the oldest alert of the user with the most above the limit', () => {
    const sent: KeptAlert[] = [];
    const open = new OpenAlerts((each) => sent.push(each));
    open.add('of root', 'UserId 0', alert(), now);
    for (let n = 0; n < 1_500; n += 1) {
      open.add(`${n}`, 'UserId 1000', alert(), now);
      if (n === 0) open.count('0', { time: 5, now });
    }
    assert.equal(open.has('of root', now), true);
    assert.equal(open.has('476', now), false);
    assert.equal(open.has('477', now), true);
    assert.deepEqual(
      sent.map(({ count }) => count),
      [2],
      'the update of the one that was counted',
    );
  });
});
