import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { alertsDocument, attackLayer, type Trials } from '../../scripts/detection-docs.ts';
import type { ParsedRule } from '../../src/agent/detections/sigma/rule.ts';
import { readRuleSet } from '../../src/agent/detections/sigma/rule-set.ts';

const read = (path: string) => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');

interface Shipped {
  readonly id: string;
  readonly title: string;
  readonly level: string;
  readonly tags: readonly string[];
  readonly vakt: {
    readonly alert: string;
    readonly remediation: string;
    readonly requires?: readonly string[];
    readonly selections?: Readonly<Record<string, readonly string[]>>;
  };
}

/** As they are shipped, not as the engine reads them. Documents without `vakt` are for correlations only. */
const shipped = Object.entries(
  (JSON.parse(read('config/detections/rules.json')) as { documents: Record<string, Partial<Shipped>[]> }).documents,
).flatMap(([file, documents]) =>
  documents.filter(({ vakt }) => vakt !== undefined).map((rule) => ({ ...(rule as Shipped), file })),
);

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
  const page = read('config/detections/README.md');
  const alerts = [...new Set(shipped.map(({ vakt }) => vakt.alert))];

  it('has a row and a section for every alert of the shipped rules, and no others', () => {
    assert.ok(alerts.length > 40, String(alerts.length));
    const inRows = [...page.matchAll(/^\| \[(\w+)\]\(#/gm)].map(([, alert]) => alert);
    assert.deepEqual(inRows, alerts.toSorted());
    const sections = [...page.matchAll(/^## (\w+)$/gm)].map(([, alert]) => alert);
    assert.deepEqual(sections, alerts.toSorted());
  });

  for (const { id, title, level, file, tags, vakt } of shipped) {
    it(`shows the rule "${title}", with its level, file, techniques and advice, at ${vakt.alert}`, () => {
      const section = sectionOf(page, vakt.alert);
      assert.ok(section.includes(`- **${level}**: ${title}. `));
      assert.ok(section.includes(`\`${id}\` in [${file}](${file})`));
      assert.ok(section.includes(vakt.remediation));
      assert.ok(rowOf(page, vakt.alert).includes(level));
      for (const tag of tags.filter((each) => /^attack\.t\d/.test(each))) {
        const technique = tag.slice('attack.'.length).toUpperCase();
        assert.ok(rowOf(page, vakt.alert).includes(`[${technique}]`), technique);
        assert.ok(
          page.includes(`\n[${technique}]: https://attack.mitre.org/techniques/${technique.replace('.', '/')}/\n`),
        );
      }
    });
  }

  it('names the setting that a rule needs as config/README.md does', () => {
    const settings = read('config/README.md');
    const needing = shipped.filter(({ vakt }) => vakt.requires !== undefined);
    assert.ok(needing.length >= 6, String(needing.length));
    for (const { vakt } of needing) {
      const [, setting = ''] = /^Needs: `([^`]+)`/m.exec(sectionOf(page, vakt.alert)) ?? [];
      assert.ok(setting !== '' && settings.includes(`| \`${setting}\` `), `${vakt.alert}: "${setting}"`);
    }
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
  const layer = JSON.parse(read('config/detections/attack-layer.json'));
  const techniques: readonly { techniqueID: string; score: number; comment: string }[] = layer.techniques;

  it('is of version 4.5 of the format, for Linux and containers', () => {
    assert.equal(layer.versions.layer, '4.5');
    assert.equal(layer.domain, 'enterprise-attack');
    assert.deepEqual(layer.filters.platforms, ['Linux', 'Containers']);
  });

  it('has every technique once, with an id of the right form', () => {
    const ids = techniques.map(({ techniqueID }) => techniqueID);
    assert.ok(ids.length > 50, String(ids.length));
    assert.deepEqual(ids, [...new Set(ids)]);
    for (const id of ids) assert.match(id, /^T\d{4}(\.\d{3})?$/);
  });

  it('has the techniques of all shipped rules, with their number and their alerts', () => {
    const tagged = shipped.flatMap(({ tags, vakt: { alert, selections = {} } }) => {
      const all = [...tags, ...Object.values(selections).flat()].filter((tag) => /^attack\.t\d/.test(tag));
      return [...new Set(all)].map((tag) => ({ id: tag.slice(7).toUpperCase(), alert }));
    });
    assert.deepEqual(
      techniques.map(({ techniqueID }) => techniqueID),
      [...new Set(tagged.map(({ id }) => id))].sort(),
    );
    for (const { techniqueID, score, comment } of techniques) {
      const of = tagged.filter(({ id }) => id === techniqueID);
      assert.equal(score, of.length, techniqueID);
      assert.deepEqual(comment.split(', '), [...new Set(of.map(({ alert }) => alert))].sort(), techniqueID);
    }
  });

  it('has colours up to the highest score', () => {
    assert.equal(layer.gradient.maxValue, Math.max(...techniques.map(({ score }) => score)));
  });

  it('counts a technique that a rule names twice once, and leaves out software and groups', () => {
    const { techniques: all } = JSON.parse(
      attackLayer(rulesWith({ tags: ['attack.t1105', 'attack.t1105', 'attack.s0001', 'attack.g0001'] })),
    );
    assert.deepEqual(all, [{ techniqueID: 'T1105', score: 1, comment: 'VAKT_New' }]);
  });
});
