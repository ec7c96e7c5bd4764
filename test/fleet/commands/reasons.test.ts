import assert from 'node:assert/strict';
import { EVENTS } from '../../../src/core/contract/events.ts';
import { describeReasons, REASON_FIELDS, reasonsOf, Tally } from '../../../src/fleet/commands/reasons.ts';

describe('reasons for the state degraded', () => {
  const reasons = (row: object) => reasonsOf({ state: 'degraded', ...row }).map(({ reason }) => reason);

  const causes: readonly (readonly [reason: string, row: object])[] = [
    ['configuration refused', { errors: { x: 'must be y' } }],
    [
      'events off or late',
      { warnings: { x: 'is Off, and limits.mayBeOff of the local configuration does not list Login' } },
    ],
    ['events off or late', { warnings: { x: 'is PT2H, longer than limits.longestMessageFrequency of …, PT1H' } }],
    ['configuration warning', { warnings: { x: 'leaves no rule of OSBaseline to be assessed' } }],
    ['message units used up', { held: { queues: 'Low', until: '', reason: 'used up' } }],
    ["a user's share of message units used up", { overShare: 'user 2001' }],
    ['events in memory only', { store: { place: 'memory', isNearlyFull: false } }],
    ['queues nearly full', { store: { place: 'disk', isNearlyFull: true } }],
    ['state not saved', { store: { place: 'disk', unsaved: 'file: ENOSPC', isNearlyFull: false } }],
    ['detections incomplete', { detectionsState: 'degraded', detectionsReason: 'a file was refused' }],
    ['files exposed', { exposed: { secrets: 'others can read x' } }],
    ['credential refused', { credential: { kind: 'edge', error: { code: 'Other', reason: 'r', id: 'I' } } }],
    ['credential expires soon', { credential: { kind: 'edge', expiresSoon: true } }],
    ['memory', { collectors: { Login: { state: 'degraded', reason: 'Raise memoryBudgetInMegabytes' } } }],
    ['cause not reported', {}],
  ];
  for (const [reason, row] of causes) {
    it(`finds "${reason}" in ${JSON.stringify(row)}`, () => {
      assert.deepEqual(reasons(row), [reason]);
      assert.deepEqual(reasonsOf({ ...row, state: 'running' }), []);
    });
  }

  for (const name of Object.keys(EVENTS)) {
    for (const state of ['degraded', 'unavailable']) {
      it(`finds "${name} ${state}", or "no kernel audit" without a source of audit`, () => {
        const isAudited = ['ProcessCreate', 'ConnectionCreate', 'Login'].includes(name);
        const found = (source?: string) => reasons({ collectors: { [name]: { state, source, reason: 'r' } } });
        assert.deepEqual(found('other'), [isAudited ? 'no kernel audit' : `${name} ${state}`]);
        assert.deepEqual(found('auditMulticast'), [`${name} ${state}`]);
      });
    }
  }

  it('reports a cause of several collectors once', () => {
    const held = { queues: 'High, Low', reason: 'used up' };
    const collector = { state: 'degraded', reason: 'used up' };
    assert.deepEqual(reasons({ held, collectors: { Login: collector, LocalUsers: collector } }), [
      'message units used up',
    ]);
    const polling = { state: 'degraded', source: 'procPolling' };
    assert.deepEqual(reasons({ collectors: { ProcessCreate: polling, Login: polling } }), ['no kernel audit']);
  });

  it('prints no name from a twin, and bounds the details', () => {
    const evil = '\u001b[2J'.repeat(1_000);
    const values = [evil, 1, true, null, [evil], {}, { [evil]: evil }, { reason: evil }, { reason: { [evil]: evil } }];
    const collectors = { [evil]: { state: 'degraded', reason: evil }, Login: { state: 'unavailable', reason: evil } };
    for (const value of [...values, collectors, { Login: evil }, { Login: { state: evil, reason: evil } }]) {
      for (const field of [...Object.keys(REASON_FIELDS), 'errors']) {
        for (const { reason, detail = '' } of reasonsOf({ state: 'degraded', [field]: value })) {
          assert.match(reason, /^[\w' ]{1,50}$/);
          assert.ok(detail.length <= 1_000);
        }
      }
    }
  });

  it('counts by reason, the most frequent first, with a bounded number of keys', () => {
    const tally = new Tally();
    for (let count = 0; count < 41; count += 1) tally.add('memory');
    for (let count = 0; count < 2_913; count += 1) tally.add('no kernel audit');
    assert.equal(describeReasons(tally), '2,913 × no kernel audit, 41 × memory');
    for (let count = 0; count < 10_000; count += 1) tally.add(`hostile ${count}`);
    assert.ok(tally.entries.length <= 61);
    assert.equal(
      tally.entries.reduce((sum, [, count]) => sum + count, 0),
      12_954,
    );
  });
});
