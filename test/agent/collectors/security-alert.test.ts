import assert from 'node:assert/strict';
import { securityAlert } from '../../../src/agent/collectors/security-alert.ts';
import type { AlertRaised } from '../../../src/core/contract/streams.ts';
import { CONTAINER, look, records, SHA256 } from './samples.ts';

const translate = (changes: Partial<AlertRaised> = {}) =>
  securityAlert.translate({ ...records.alerts, ...changes }, look) ?? assert.fail();

describe('SecurityAlert', () => {
  it('contains the rule, the evidence and the remediation', () => {
    assert.deepEqual(translate(), {
      AlertId: '0b7f1d52-6c0a-4b5e-9d1e-6a54d6f4a1c3',
      AlertType: 'IoT_ReverseShell',
      Severity: 'Critical',
      RuleId: '6a1c0f9e-2f0d-4f0b-8a55-3d1f4f0f8a11',
      RuleTitle: 'Reverse shell',
      RuleSource: 'local',
      RuleAuthor: 'A. Author',
      Tactics: 'execution;command-and-control',
      Techniques: 'T1059.004;T1071',
      Count: 3,
      FirstSeenUtc: '2024-05-01T12:00:00.123Z',
      LastSeenUtc: '2024-05-01T12:20:00.000Z',
      EventName: 'ProcessCreate',
      EventIds: '6f2c1f0e-8f5f-4b39-9a57-1f5c2a6a0b01;6f2c1f0e-8f5f-4b39-9a57-1f5c2a6a0b02',
      Executable: '/usr/bin/bash',
      CommandLine: 'bash -i',
      ProcessId: 1445,
      ParentProcessId: 1444,
      UserId: '1000',
      UserName: 'alice',
      ParentExecutable: '/usr/sbin/nginx',
      ParentCommandLine: 'nginx: worker process',
      ContainerId: CONTAINER,
      Sha256: SHA256,
      During: 'dpkg',
      Remediation: 'Find out who started it, and from where.',
      ExtraDetails: { Terminal: 'pts0', Matched: 'bash -i' },
    });
  });

  it('omits unknown facts', () => {
    const { time, alertId, remediation } = records.alerts;
    const bare: AlertRaised = {
      time,
      alertId,
      alertType: 'VAKT_AgentBlind',
      severity: 'informational',
      rule: { id: 'a', title: 'The agent is blind', source: 'builtin' },
      tactics: [],
      techniques: [],
      count: 1,
      firstSeen: time,
      lastSeen: time,
      event: 'ConfigurationError',
      eventIds: [],
      subject: {},
      remediation,
    };
    assert.deepEqual(Object.keys(securityAlert.translate(bare, look) ?? {}), [
      ...['AlertId', 'AlertType', 'Severity', 'RuleId', 'RuleTitle', 'RuleSource', 'Count'],
      ...['FirstSeenUtc', 'LastSeenUtc', 'EventName', 'Remediation'],
    ]);
  });

  it('contains all facts of the event, in ExtraDetails if they have no field', () => {
    const alert = translate({
      subject: { LocalPort: '23', Protocol: 'tcp', ExitStatus: 137, GroupNames: 'sudo', ProcessId: 'not a number' },
      details: { GroupNames: 'of the rule' },
    });
    assert.equal(alert.LocalPort, '23');
    assert.equal(alert.Protocol, 'tcp');
    assert.equal('ProcessId' in alert, false);
    assert.deepEqual(alert.ExtraDetails, {
      ExitStatus: '137',
      GroupNames: 'of the rule',
      ProcessId: 'not a number',
    });
  });
});
