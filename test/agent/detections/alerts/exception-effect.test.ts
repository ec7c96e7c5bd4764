import assert from 'node:assert/strict';
import { ExceptionEffect } from '../../../../src/agent/detections/alerts/exception-effect.ts';
import { alertTypeOf } from '../../../../src/agent/detections/alerts/policy.ts';
import { builtInRules } from '../../../../src/agent/detections/built-in.ts';
import { systemClock } from '../../../../src/core/base/clock.ts';
import type { AlertException } from '../../../../src/core/contract/setting-kinds.ts';
import { until } from '../../../harness/until.ts';
import { quietLog } from '../../pipeline/memory-queues.ts';

const { rules } = builtInRules();
const typeOf = new Map(rules.map(({ facts }) => [facts.id, alertTypeOf(facts)]));

/** The alert types whose rules these exceptions silence. */
async function silencedTypes(...exceptions: readonly Partial<AlertException>[]): Promise<readonly string[]> {
  let changes = 0;
  const effect = new ExceptionEffect({
    rules: () => rules,
    clock: systemClock,
    log: quietLog(),
    changed: () => {
      changes += 1;
    },
  });
  const all = exceptions.map((one, index) => [`e${index}`, { rule: 'IoT_ReverseShell', field: 'Image', ...one }]);
  const policy = Object.fromEntries(all) as Record<string, AlertException>;
  assert.equal(effect.silenced(policy).size, 0, 'not yet evaluated');
  await until('the evaluation', () => changes > 0);
  return [...new Set([...effect.silenced(policy)].map((id) => typeOf.get(id) ?? ''))].sort();
}

describe('ExceptionEffect', () => {
  it('reports the rules that exceptions silence for all programs in a directory', async () => {
    for (const field of ['Image', 'Executable']) {
      const short = ['/u', '/b', '/t', '/d', '/o', '/v', '/h', '/r'].map((startsWith) => ({ field, startsWith }));
      assert.deepEqual(await silencedTypes(...short), ['IoT_ReverseShell'], field);
      const valid = ['/usr/bin', '/usr/sbin', '/bin/b', '/bin/s', '/tmp/.'].map((startsWith) => ({
        field,
        startsWith,
      }));
      assert.deepEqual(await silencedTypes(...valid), ['IoT_ReverseShell'], field);
    }
  });

  it('reports the rules of 52 alert types that 52 exceptions silence', async () => {
    const types = [...new Set(typeOf.values())].slice(0, 52);
    const found = await silencedTypes(...types.map((rule) => ({ rule, startsWith: '/u' })));
    assert.ok(found.length >= 8, found.join(' '));
  });

  it('adds up exceptions that each cover little', async () => {
    const letters = [...'abcdefghijklmnopqrstuvwxyz/'].map((startsWith) => ({ field: 'CommandLine', startsWith }));
    assert.deepEqual(await silencedTypes(...letters), ['IoT_ReverseShell']);
    assert.deepEqual(await silencedTypes({ field: 'CommandLine', startsWith: 'x' }), []);
  });

  it('ignores exceptions for single programs, expired ones and those of other rules', async () => {
    assert.deepEqual(await silencedTypes({ startsWith: '/opt/backup/' }, { field: 'User', equals: 'backup' }), []);
    const harmless = { field: 'User', equals: 'backup' };
    assert.deepEqual(await silencedTypes(harmless, { startsWith: '/u', until: '2026-01-01T00:00:00Z' }), []);
    assert.deepEqual(await silencedTypes({ rule: 'IoT_Other', startsWith: '/u' }), []);
  });
});
