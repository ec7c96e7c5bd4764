import assert from 'node:assert/strict';
import { latestAlerts } from '../../../../src/agent/detections/alerts/history.ts';
import type { KeptAlert } from '../../../../src/agent/detections/alerts/kept-alert.ts';

let number = 0;
const alert = (
  ruleTitle: string,
  subject: KeptAlert['subject'],
  severity: KeptAlert['severity'] = 'high',
): KeptAlert => {
  number += 1;
  return {
    alertId: '0b5c3f5e-93a4-4b6b-8d7c-0a1b2c3d4e5f',
    alertType: 'IoT_ReverseShell',
    severity,
    ruleId: 'rule',
    ruleTitle,
    ruleSource: 'builtin',
    tactics: [],
    techniques: [],
    count: 1,
    first: number * 1_000,
    last: number * 1_000,
    event: 'ProcessCreate',
    eventIds: [],
    subject,
    remediation: 'x',
    details: {},
  };
};

describe('The latest alerts in the status', () => {
  it('lists high and critical alerts with rule, user and time, newest first', () => {
    const alerts = [
      alert('Reverse shell', { UserId: '0', UserName: 'root' }, 'critical'),
      alert('Scan', { UserId: '1000' }, 'medium'),
      alert('New port', {}),
    ];
    const time = (one: KeptAlert | undefined) => new Date(one?.last ?? 0).toISOString();
    assert.deepEqual(latestAlerts(alerts), {
      1: { rule: 'New port', user: 'none', time: time(alerts[2]) },
      2: { rule: 'Reverse shell', user: '0 (root)', time: time(alerts[0]) },
    });
  });

  it('lists ten alerts, of which one user displaces at most half', () => {
    const decoys = Array.from({ length: 30 }, (_, n) => alert(`decoy ${n}`, { UserId: '2001' }));
    const latest = Object.values(latestAlerts([alert('Reverse shell', { UserId: '0' }), ...decoys]));
    assert.equal(latest.length, 10);
    assert.deepEqual([latest[0]?.rule, latest[9]?.rule], ['decoy 29', 'Reverse shell']);
    assert.equal(Object.keys(latestAlerts(decoys)).length, 10);
  });

  it('limits the length of rule and user', () => {
    const latest = latestAlerts([alert('x'.repeat(8_000), { UserId: '1', UserName: 'y'.repeat(8_000) })]);
    assert.ok(JSON.stringify(latest).length < 400);
  });
});
