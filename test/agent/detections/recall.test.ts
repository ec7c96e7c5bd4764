import assert from 'node:assert/strict';
import { type Recall, recall, recallTable } from './recall.ts';
import { idOf } from './unseen-cases.ts';

describe('the built-in rules, for cases that they were not tuned on', function () {
  this.timeout('120s');
  let result: Recall;

  before(() => {
    result = recall();
  });

  it('finds at least 85 % of the attacks with the right alert', () => {
    const attacks = result.alerts.reduce((sum, one) => sum + one.attacks, 0);
    assert.ok(1 - result.missed.length / attacks >= 0.85, recallTable(result));
  });

  it('raises no alert of level high or above for a look-alike', () => {
    assert.deepEqual(
      result.wrong.map(({ one, raised }) => `${idOf(one)}: ${raised.map(({ rule }) => rule).join(', ')}`),
      [],
    );
  });

  it('raises at most one alert of level medium or above in 2,000 recorded benign starts', () => {
    assert.ok(result.benign >= 10_000, `${result.benign} starts`);
    assert.ok(result.benignHits.length <= result.benign / 2_000, recallTable(result));
  });
});
