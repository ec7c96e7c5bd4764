import assert from 'node:assert/strict';
import { alertsDocument, attackLayer, type Trials } from '../../scripts/detection-docs.ts';
import type { ParsedRule } from '../../src/agent/detections/sigma/rule.ts';
import { readRuleSet } from '../../src/agent/detections/sigma/rule-set.ts';

/** Rules of one file, each a list of members that replace those of a rule that is complete. */
function rulesWith(...all: readonly Readonly<Record<string, unknown>>[]): readonly ParsedRule[] {
  const documents = all.map((members, index) => ({
    file: 'new.yml',
    origin: 'builtin' as const,
    value: {
      title: 'Newcomer',
      id: `00000000-0000-4000-8000-00000000000${index}`,
      level: 'medium',
      description: 'Something new.',
      tags: ['attack.execution', 'attack.t1059.004'],
      vakt: { alert: 'VAKT_New', remediation: 'Look.' },
      logsource: { product: 'linux', category: 'process_creation' },
      detection: { s: { Image: '/new' }, condition: 's' },
      ...members,
    },
    lineOf: () => undefined,
  }));
  const { rules, faults } = readRuleSet(documents);
  assert.deepEqual(faults, []);
  return rules;
}

const TRIALS: Trials = {
  benign: 1000,
  alerts: { VAKT_New: { found: 4, visible: 3, attacks: 5, benignHits: 2 } },
  cases: { VAKT_New: { attacks: 7, lookAlikes: 8 } },
};

describe('the page of alerts', () => {
  it('refuses a list that no setting fills', () => {
    const rules = rulesWith({}).map((rule) => ({ ...rule, facts: { ...rule.facts, requires: ['nowhere'] } }));
    assert.throws(() => alertsDocument(rules, TRIALS), /no setting fills the list "nowhere"/);
  });

  it('names the setting of a list that a rule only leaves out', () => {
    const rules = rulesWith({
      detection: { s: { Image: '/new' }, ok: { User: '%allowedUsers%' }, condition: 's and not ok' },
    });
    assert.doesNotMatch(alertsDocument(rules, TRIALS), /Excludes/);
    const expanded = rulesWith({
      detection: { s: { Image: '/new' }, ok: { 'User|expand': '%allowedUsers%' }, condition: 's and not ok' },
    });
    assert.match(alertsDocument(expanded, TRIALS), /^Excludes entries of: `detectionsAllowedUsers`\.$/m);
  });

  it('shows what a rule says as it is, not as Markdown', () => {
    const page = alertsDocument(rulesWith({ description: 'Ends in *, has <b> and [a](b).' }), TRIALS);
    assert.ok(page.includes('Ends in \\*, has &lt;b> and \\[a\\](b).'));
  });
});

describe('the ATT&CK layer', () => {
  it('is of version 4.5 of the format, for Linux and containers, with colours up to the highest score', () => {
    const layer = JSON.parse(attackLayer(rulesWith({}, {})));
    assert.equal(layer.versions.layer, '4.5');
    assert.equal(layer.domain, 'enterprise-attack');
    assert.deepEqual(layer.filters.platforms, ['Linux', 'Containers']);
    assert.deepEqual(layer.techniques, [{ techniqueID: 'T1059.004', score: 2, comment: 'VAKT_New' }]);
    assert.equal(layer.gradient.maxValue, 2);
  });

  it('counts a technique that a rule names twice once, and leaves out software and groups', () => {
    const { techniques: all } = JSON.parse(
      attackLayer(rulesWith({ tags: ['attack.t1105', 'attack.t1105', 'attack.s0001', 'attack.g0001'] })),
    );
    assert.deepEqual(all, [{ techniqueID: 'T1105', score: 1, comment: 'VAKT_New' }]);
  });
});
