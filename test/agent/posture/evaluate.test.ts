import assert from 'node:assert/strict';
import { type AgentFacts, assessmentsOf, NO_SHADOW, type SnapshotFacts } from '../../../src/agent/posture/evaluate.ts';
import type { FirewallPosture } from '../../../src/agent/posture/facts.ts';
import {
  type Assessment,
  RECOMMENDATION_IDS,
  type RecommendationId,
} from '../../../src/agent/posture/recommendation.ts';
import type { BaselinePosture } from '../../../src/core/contract/baseline.ts';

type Facts = SnapshotFacts & AgentFacts;

const scan = (failed: Partial<BaselinePosture['failedBySeverity']>, more: Partial<BaselinePosture> = {}) => {
  const failedBySeverity = { critical: 0, important: 0, warning: 0, informational: 0, ...failed };
  const sum = Object.values(failedBySeverity).reduce((all, count) => all + count, 0);
  const found: BaselinePosture = {
    passed: 300,
    failed: sum,
    failedBySeverity,
    errors: 0,
    skipped: 1,
    ruleSet: '1.0.0',
    ruleSetHash: '',
    durationMs: 1,
    scannedAt: '2026-05-01T12:00:00.000Z',
    customChecks: 'off',
    ...more,
  };
  return { found };
};
const filter = (inbound: FirewallPosture['inbound'], forward = inbound, outbound = inbound, permissiveRules = 0) => ({
  found: { inbound, forward, outbound, permissiveRules },
});

/** Nothing is wrong. */
const FINE: Facts = {
  exposure: { found: { openPorts: 0, ports: '' } },
  firewall: filter('deny'),
  accounts: { found: { withoutPassword: 0, uidZero: 1, humans: 1 } },
  baseline: scan({}),
  messages: { found: { sent: 100, under4KB: 0 } },
  configuration: { found: { refused: 0, warned: 0 } },
  credential: { found: { expiresSoon: false } },
  audit: { found: { eventsWithout: 0 } },
};
const holds = (severity: string, count: number) => ({ state: 'holds', severity, count });
const unknown = (reason: string) => ({ state: 'unknown', reason });
const clear = { state: 'clear' };

describe('assessmentsOf', () => {
  it('returns clear for every id if no fact is bad', () => {
    assert.deepEqual(assessmentsOf(FINE), Object.fromEntries(RECOMMENDATION_IDS.map((id) => [id, clear])));
  });

  it('returns unknown with a reason for every id if no fact is known', () => {
    const names = Object.keys(FINE);
    const assessed = assessmentsOf(
      Object.fromEntries(names.map((name) => [name, { unknown: `no ${name}` }])) as unknown as Facts,
    );
    const reasons = Object.values(assessed).map(
      (assessment: Assessment) => 'reason' in assessment && assessment.reason,
    );
    assert.deepEqual(new Set(reasons), new Set(names.map((name) => `no ${name}`)));
    for (const id of RECOMMENDATION_IDS) assert.equal(assessed[id].state, 'unknown');
  });

  const CASES: Readonly<Record<string, [facts: Partial<Facts>, id: RecommendationId, is: object]>> = {
    'ports are open': [{ exposure: { found: { openPorts: 3, ports: '' } } }, 'openPorts', holds('Medium', 3)],
    'ports are open in a list that was cut': [
      { exposure: { found: { openPorts: 3, ports: '' }, incomplete: 'cut' } },
      'openPorts',
      holds('Medium', 3),
    ],
    'a list that was cut has no open ports': [
      { exposure: { found: { openPorts: 0, ports: '' }, incomplete: 'cut' } },
      'openPorts',
      unknown('cut'),
    ],
    'inbound packets pass': [
      { firewall: filter('allow', 'deny', 'deny') },
      'permissiveFirewallPolicy',
      holds('Medium', 1),
    ],
    'nothing is filtered': [{ firewall: filter('none') }, 'permissiveFirewallPolicy', holds('Medium', 3)],
    'forwarded and outbound packets pass': [
      { firewall: filter('deny', 'none', 'allow') },
      'permissiveFirewallPolicy',
      holds('Low', 2),
    ],
    'a program decides about inbound packets': [
      { firewall: filter('unknown', 'deny', 'deny') },
      'permissiveFirewallPolicy',
      unknown('a program decides about packets, see "queue"'),
    ],
    'not all rules of the packet filter were read': [
      { firewall: { ...filter('unknown', 'deny', 'deny'), incomplete: 'no nft' } },
      'permissiveFirewallPolicy',
      unknown('no nft'),
    ],
    'a rule is permissive': [
      { firewall: filter('deny', 'deny', 'deny', 2) },
      'permissiveFirewallRule',
      holds('Medium', 2),
    ],
    'no rule of those that were read is permissive': [
      { firewall: { ...filter('deny'), incomplete: 'no nft' } },
      'permissiveFirewallRule',
      unknown('no nft'),
    ],
    'an account has no password': [
      { accounts: { found: { withoutPassword: 1, uidZero: 1, humans: 0 } } },
      'accountWithoutPassword',
      holds('Critical', 1),
    ],
    'the shadow file cannot be read': [
      { accounts: { found: { uidZero: 1, humans: 0 } } },
      'accountWithoutPassword',
      unknown(NO_SHADOW),
    ],
    'there are two more roots': [
      { accounts: { found: { withoutPassword: 0, uidZero: 3, humans: 0 } } },
      'secondRootAccount',
      holds('High', 2),
    ],
    'there is no root': [{ accounts: { found: { uidZero: 0, humans: 0 } } }, 'secondRootAccount', clear],
    'a critical rule fails': [{ baseline: scan({ critical: 1, warning: 4 }) }, 'baselineFailed', holds('Critical', 5)],
    'an important rule fails': [{ baseline: scan({ important: 1 }) }, 'baselineFailed', holds('High', 1)],
    'a rule of a warning fails': [{ baseline: scan({ warning: 1 }) }, 'baselineFailed', holds('Medium', 1)],
    'an informational rule fails': [{ baseline: scan({ informational: 1 }) }, 'baselineFailed', holds('Low', 1)],
    'a rule fails, and others were not assessed': [
      { baseline: scan({ warning: 1 }, { errors: 9 }) },
      'baselineFailed',
      holds('Medium', 1),
    ],
    'rules were not assessed': [
      { baseline: scan({}, { errors: 9 }) },
      'baselineFailed',
      unknown('9 hardening rules could not be assessed'),
    ],
    'every rule is disabled': [
      { baseline: scan({}, { passed: 0 }) },
      'baselineFailed',
      unknown('no hardening rule is assessed'),
    ],
    'many messages are small': [
      { messages: { found: { sent: 100, under4KB: 11 } } },
      'messagesUnder4KB',
      holds('Low', 11),
    ],
    'few messages are small': [{ messages: { found: { sent: 100, under4KB: 10 } } }, 'messagesUnder4KB', clear],
    'there were few messages': [
      { messages: { found: { sent: 9, under4KB: 9 } } },
      'messagesUnder4KB',
      unknown('fewer than 10 messages since the last snapshot'),
    ],
    'a property has a warning': [
      { configuration: { found: { refused: 0, warned: 1 } } },
      'configurationNotOptimal',
      holds('Low', 1),
    ],
    'a property is refused': [
      { configuration: { found: { refused: 1, warned: 1 } } },
      'configurationNotOptimal',
      holds('Medium', 2),
    ],
    'the credential expires soon': [
      { credential: { found: { expiresSoon: true } } },
      'credentialExpires',
      holds('High', 1),
    ],
    'events come from elsewhere': [{ audit: { found: { eventsWithout: 2 } } }, 'noKernelAudit', holds('Medium', 2)],
  };
  for (const [what, [facts, id, is]] of Object.entries(CASES))
    it(`recommendations include or clear ${id} if ${what}`, () =>
      assert.deepEqual(assessmentsOf({ ...FINE, ...facts })[id], is));
});
