import assert from 'node:assert/strict';
import { casesFile, idOf, unseenCases } from './unseen-cases.ts';

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

  it('repeat an event with the values of its lists, each later than the previous one', () => {
    const [one] = casesFile([
      {
        alert: 'A',
        name: 'n',
        kind: 'plain',
        expect: true,
        why: 'an example',
        events: [{ event: 'Login', UserName: ['root', 'admin'], Result: 'Fail', after: 2, times: 3 }],
      },
    ]).cases;
    const seen = one?.events.map(({ Payload, ...rest }) => [Payload[0]?.UserName, Reflect.get(rest, 'TimestampUTC')]);
    assert.deepEqual(seen, [
      ['root', '2026-10-05T06:00:02.000Z'],
      ['admin', '2026-10-05T06:00:04.000Z'],
      ['root', '2026-10-05T06:00:06.000Z'],
    ]);
  });
});
