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

const rowOf = (page: string, alert: string) => page.split('\n').find((line) => line.startsWith(`| [${alert}](`)) ?? '';
const sectionOf = (page: string, alert: string) =>
  page.split(/^## /m).find((part) => part.startsWith(`${alert}\n`)) ?? '';

describe('the page of alerts', () => {
  it('shows a rule with its level, file, techniques and advice', () => {
    const page = alertsDocument(rulesWith({ tags: ['attack.execution', 'attack.t1059.004'] }), TRIALS);
    const section = sectionOf(page, 'VAKT_New');
    assert.match(section, /- \*\*medium\*\*: Newcomer\. Something new\./);
    assert.match(section, /`0{8}-0000-4000-8000-0{12}` in \[new\.yml\]\(new\.yml\)/);
    assert.match(section, /Look\./);
    assert.match(rowOf(page, 'VAKT_New'), /\| medium +\|.*\[T1059\.004\]/);
    assert.match(page, /^\[T1059\.004\]: https:\/\/attack\.mitre\.org\/techniques\/T1059\/004\/$/m);
  });

  it('lists how the rules of an alert were tested', () => {
    const page = alertsDocument(rulesWith({}), TRIALS);
    assert.match(rowOf(page, 'VAKT_New'), /\| 7 +\| 8 +\| 4 of 5 +\| 3 +\| 2 +\| Newcomer +\|$/);
    assert.match(page, /1000 in total/);
  });

  it('states that an alert has no unseen cases, and no benign starts if its rules are not about starts', () => {
    const logsource = { product: 'linux', category: 'network_connection' };
    const detection = { s: { RemotePort: '99' }, condition: 's' };
    const page = alertsDocument(rulesWith({ logsource, detection }), { ...TRIALS, alerts: {} });
    assert.match(rowOf(page, 'VAKT_New'), /\| 7 +\| 8 +\| no cases +\| +\| +\| Newcomer +\|$/);
  });

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

  it('puts the most severe rule first', () => {
    const page = alertsDocument(
      rulesWith({ title: 'Mild', level: 'low' }, { title: 'Severe', level: 'critical' }, { title: 'Middle' }),
      TRIALS,
    );
    assert.match(rowOf(page, 'VAKT_New'), /\| critical, medium, low +\|.*\| Severe +\|$/);
    assert.match(sectionOf(page, 'VAKT_New'), /Severe.*Middle.*Mild/s);
  });

  it('lists each false positive once, and states that none is known only if all rules have none', () => {
    const page = alertsDocument(
      rulesWith(
        { falsepositives: ['none known'] },
        { falsepositives: ['Support bundles', 'Tests'] },
        { falsepositives: ['support bundles'] },
      ),
      TRIALS,
    );
    assert.match(page, /^False positives: Support bundles\. Tests\.$/m);
    assert.match(
      alertsDocument(rulesWith({ falsepositives: ['none known'] }), TRIALS),
      /^False positives: None known\.$/m,
    );
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
