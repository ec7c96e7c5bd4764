import assert from 'node:assert/strict';
import { osBaseline } from '../../../src/agent/collectors/os-baseline.ts';
import type { CheckOutcome } from '../../../src/core/contract/baseline.ts';
import type { Settings } from '../../../src/core/contract/settings.ts';
import { someSettings } from '../pipeline/memory-queues.ts';
import { sources } from './samples.ts';

const { signal } = new AbortController();
const [shadow, kptr, passwd] = (await sources.baseline.scan(signal)).outcomes as [
  CheckOutcome,
  CheckOutcome,
  CheckOutcome,
];
const of = async (...outcomes: CheckOutcome[]) => {
  const report = await sources.baseline.scan(signal);
  const baseline = { ...sources.baseline, scan: async () => ({ ...report, outcomes }) };
  return osBaseline.collect({ ...sources, baseline }, signal);
};

describe('OSBaseline', () => {
  it('reports a failed rule with the found value, its location and the remedy', async () => {
    assert.deepEqual(await of(shadow), [
      {
        Description: '/etc/shadow is root-owned and at most 0640',
        CceId: 'CCE-4130-1',
        Result: 'Fail',
        Error: 'Found: file 0644 root:shadow (/etc/shadow)',
        Severity: 'Critical',
        ExtraDetails: {
          RuleId: 'file.etc-shadow',
          Category: 'file-permissions',
          Actual: 'file 0644 root:shadow',
          Expected: 'file, at most 0640, owner root',
          Where: '/etc/shadow',
          Remediation: 'For /etc/shadow: chown root, chmod 0640, or less.',
          Source: 'CIS Debian 13 7.1.5',
        },
      },
    ]);
  });

  it('reports a rule that could not be evaluated as an error with its reason, under its own id if it has no other', async () => {
    assert.deepEqual(await of(kptr), [
      {
        Description: 'Kernel pointers are hidden from ordinary users',
        CceId: 'sysctl.kernel.kptr_restrict',
        Result: 'Err',
        Error: 'Could not be evaluated: EACCES',
        Severity: 'Warning',
        ExtraDetails: {
          RuleId: 'sysctl.kernel.kptr_restrict',
          Category: 'sysctl-kernel',
          Expected: 'at least 1',
          Remediation: 'Set kernel.kptr_restrict = 1.',
        },
      },
    ]);
  });

  it('reports neither passed nor inapplicable rules', async () => {
    assert.deepEqual(await of(passwd, { ...shadow, result: 'skip', reason: 'there is no shadow' }), []);
  });

  it('always sets Error', async () => {
    const { actual: _actual, where: _where, ...bare } = shadow;
    const { reason: _reason, ...silent } = kptr;
    const errors = (await of(bare, { ...bare, reason: 'no such file' }, silent)).map(({ Error: said }) => said);
    assert.deepEqual(errors, [
      'Found: not as required',
      'Found: no such file',
      'Could not be evaluated: unknown reason',
    ]);
  });

  it('lists the most severe rules first, otherwise in the order of the rules, because small messages lose the end', async () => {
    const rules = (['Informational', 'Warning', 'Critical', 'Warning', 'Important'] as const).map(
      (severity, index) => ({
        ...shadow,
        severity,
        rule: `rule.${index}`,
      }),
    );
    const order = (await of(...rules)).map(({ ExtraDetails: extra }) => (extra as { RuleId: string }).RuleId);
    assert.deepEqual(order, ['rule.2', 'rule.4', 'rule.1', 'rule.3', 'rule.0']);
  });

  it('is outdated only by a change of exceptions, roles or custom checks', () => {
    const now = someSettings();
    const changed = (change: Partial<Settings>) => osBaseline.isOutdated?.(now, { ...now, ...change });
    assert.equal(changed({ baselineRoles: ['router'] }), true);
    assert.equal(changed({ baselineCustomChecksEnabled: true }), true);
    assert.equal(changed({ baselineRoles: [] }), false);
    assert.equal(changed({ hubResourceId: 'id', snapshotFrequency: now.lowPriorityMessageFrequency }), false);
  });

  it('reports the state of its source, passes the abort signal on, and rethrows errors', async () => {
    assert.deepEqual(osBaseline.sourceStatus?.(sources), { state: 'on' });
    const failing = { ...sources.baseline, scan: (given: AbortSignal) => Promise.reject(given) };
    await assert.rejects(osBaseline.collect({ ...sources, baseline: failing }, signal), (thrown) => thrown === signal);
  });
});
