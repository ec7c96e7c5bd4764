import assert from 'node:assert/strict';
import type { AlertPolicy } from '../../../../src/agent/detections/alerts/policy.ts';
import { silencedRules } from '../../../../src/agent/detections/alerts/silenced-rules.ts';
import type { AlertException } from '../../../../src/core/contract/setting-kinds.ts';
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
const silenced = (change: Partial<AlertPolicy>, rules = RULES, excepted: readonly string[] = []) =>
  silencedRules(rules, { ...POLICY, ...change }, new Set(excepted));
const exception = (rule: string, more: Partial<AlertException>): AlertException => ({ rule, field: 'Image', ...more });

describe('silencedRules, for level high or critical', () => {
  it('returns nothing if only other rules are off', () => {
    assert.equal(silenced({}), undefined);
    assert.equal(silenced({ disabledRules: ['VAKT_T1'] }), undefined);
    assert.equal(silenced({ disabledRules: ['VAKT_T1'] }, RULES.slice(0, 1)), undefined, 'and where there are none');
  });

  it('includes rules that are disabled by type or by id', () => {
    const setting = 'detectionsDisabledRules';
    assert.deepEqual(silenced({ disabledRules: ['VAKT_T1', 'VAKT_T2'] }), {
      setting,
      silenced: 1,
      all: 2,
      byExceptions: 0,
    });
    const both = ['00000000-0000-4000-8000-000000000003', 'VAKT_T2'];
    assert.deepEqual(silenced({ disabledRules: both }), { setting, silenced: 2, all: 2, byExceptions: 0 });
  });

  it('includes rules below the minimum level', () => {
    const expected = { setting: 'detectionsMinimumLevel', silenced: 1, all: 2, byExceptions: 0 };
    assert.deepEqual(silenced({ minimumLevel: 'critical' }), expected);
  });

  it('includes rules with an exception that matches nearly everything', () => {
    const by = (more: Partial<AlertException>) => silenced({ exceptions: { all: exception('VAKT_T3', more) } });
    for (const more of [
      { field: 'Event', equals: 'ProcessCreate' },
      { field: 'Change', equals: 'added' },
      { field: 'Result', equals: 'Success' },
      { field: 'HardwareCategory', equals: 'usb' },
    ])
      assert.deepEqual(
        by(more),
        { setting: 'detectionsExceptions', silenced: 1, all: 2, byExceptions: 1 },
        JSON.stringify(more),
      );
    for (const more of [{ equals: '' }, { startsWith: '/opt/' }, { cidr: '10.0.0.0/8' }, { cidr: '10.0.0.1' }])
      assert.equal(by(more), undefined, JSON.stringify(more));
  });

  it('includes rules with an exception for a value that the rule itself requires', () => {
    const by = (detection: string, more: Partial<AlertException>) => {
      const rule = ruleOf(2, 'high').replace('  s: { a: b }\n  condition: s', `  ${detection}`);
      return silenced({ exceptions: { all: exception('VAKT_T2', more) } }, rulesOf(rule))?.silenced;
    };
    const isB = { field: 'a', equals: 'b' };
    for (const detection of [
      's: { a: b, c: d }\n  condition: s',
      's: { a: b }\n  t: { a: b, c: d }\n  condition: s or t',
    ])
      assert.equal(by(detection, isB), 1, detection);
    assert.equal(by('s: { a: b }\n  condition: s', { field: 'a', equals: 'c' }), undefined);
    assert.equal(by('s: { a: b }\n  condition: s', { field: 'c', equals: 'b' }), undefined);
    for (const detection of [
      's: { a: [b, c] }\n  condition: s',
      's: { a|contains: b }\n  condition: s',
      's: { c: d }\n  t: { a: b }\n  condition: s and not t',
    ])
      assert.equal(by(detection, isB), undefined, detection);
  });

  it('includes rules that exceptions silence in combination', () => {
    const expected = { setting: 'detectionsExceptions', silenced: 1, all: 2, byExceptions: 1 };
    assert.deepEqual(silenced({}, RULES, ['00000000-0000-4000-8000-000000000003']), expected);
  });

  it('reports the setting that silences most of them', () => {
    const policy = {
      disabledRules: ['VAKT_T2', 'VAKT_T4'],
      exceptions: { all: exception('VAKT_T3', { field: 'Event', equals: 'x' }) },
    };
    const expected = { setting: 'detectionsDisabledRules', silenced: 3, all: 3, byExceptions: 1 };
    assert.deepEqual(silenced(policy, [...RULES, ...rulesOf(ruleOf(4, 'high'))]), expected);
  });
});
