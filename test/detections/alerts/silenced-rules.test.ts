import assert from 'node:assert/strict';
import type { AlertException, AlertPolicy } from '../../../src/detections/alerts/policy.ts';
import { silencingSetting } from '../../../src/detections/alerts/silenced-rules.ts';
import { rulesOf, ruleWith } from '../rules.ts';

const ruleOf = (id: number, level: string) =>
  ruleWith('s: { a: b }\ncondition: s', `id: 00000000-0000-4000-8000-00000000000${id}\nlevel: ${level}\n`).replace(
    /$/,
    `vakt: { alert: VAKT_T${id} }\n`,
  );
const RULES = rulesOf(ruleOf(1, 'medium'), ruleOf(2, 'high'), ruleOf(3, 'critical'));
const POLICY: AlertPolicy = {
  enabled: true,
  minimumLevel: 'medium',
  disabledRules: [],
  exceptions: {},
  silencedUntil: '',
};
const setting = (change: Partial<AlertPolicy>, rules = RULES) => silencingSetting(rules, { ...POLICY, ...change });
const exception = (rule: string, more: Partial<AlertException>): AlertException => ({ rule, field: 'Image', ...more });

describe('The setting that silences the last rule of level high or critical', () => {
  it('is none while one of them is left', () => {
    assert.equal(setting({}), undefined);
    assert.equal(setting({ minimumLevel: 'critical' }), undefined);
    assert.equal(setting({ disabledRules: ['VAKT_T1', 'VAKT_T2'] }), undefined);
    assert.equal(setting({}, RULES.slice(0, 1)), undefined, 'and where there are none');
  });

  it('is the list of disabled rules', () => {
    assert.equal(setting({ disabledRules: ['VAKT_T2', 'VAKT_T3'] }), 'detections.disabledRules');
    assert.equal(
      setting({ disabledRules: ['00000000-0000-4000-8000-000000000003', 'VAKT_T2'] }),
      'detections.disabledRules',
    );
  });

  it('is the minimum level', () => {
    assert.equal(setting({ minimumLevel: 'critical' }, RULES.slice(0, 2)), 'detections.minimumLevel');
  });

  it('is an exception that nearly everything matches', () => {
    const by = (more: Partial<AlertException>) =>
      setting({ disabledRules: ['VAKT_T2'], exceptions: { all: exception('VAKT_T3', more) } });
    for (const more of [
      { startsWith: '' },
      { startsWith: '/' },
      { endsWith: '' },
      { cidr: '0.0.0.0/1' },
      { cidr: '::/0' },
      { field: 'Event', equals: 'ProcessCreate' },
      { field: 'Change', equals: 'added' },
    ])
      assert.equal(by(more), 'detections.exceptions', JSON.stringify(more));
    for (const more of [{ equals: '' }, { startsWith: '/opt/' }, { cidr: '10.0.0.0/8' }, { cidr: '10.0.0.1' }])
      assert.equal(by(more), undefined, JSON.stringify(more));
  });
});
