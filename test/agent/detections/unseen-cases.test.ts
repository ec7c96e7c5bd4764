import assert from 'node:assert/strict';
import { idOf, unseenCases } from './unseen-cases.ts';

describe('the unseen cases', () => {
  const cases = unseenCases();
  const ofStarts = cases.filter(({ events }) => events[0]?.event === 'ProcessCreate');
  const count = (expect: boolean) => ofStarts.filter((one) => one.expect === expect).length;

  it('include enough attacks and look-alikes, a third of them evasions', () => {
    assert.ok(count(true) >= 160, `${count(true)} attacks`);
    assert.ok(count(false) >= 160, `${count(false)} look-alikes`);
    const evasions = ofStarts.filter(({ kind }) => kind === 'evasion').length;
    assert.ok(evasions >= ofStarts.length / 4, `${evasions} evasions of ${ofStarts.length}`);
  });

  it('include both for each alert, with unique names', () => {
    for (const alert of new Set(cases.map((one) => one.alert))) {
      const expected = cases.filter((one) => one.alert === alert).map(({ expect }) => expect);
      assert.ok(expected.includes(true) && expected.includes(false), alert);
    }
    assert.equal(new Set(cases.map(idOf)).size, cases.length);
  });

  it('mark attacks as plain or evasion, look-alikes as daily, and give a reason', () => {
    const wrong = cases.filter(({ kind, expect, why }) => (kind === 'daily') === expect || why.length < 8);
    assert.deepEqual(wrong, []);
  });
});
