import assert from 'node:assert/strict';
import { builtInDocuments, builtInRules } from '../../../../src/agent/detections/built-in.ts';
import { Detector } from '../../../../src/agent/detections/detector.ts';
import { select } from '../../../../src/agent/detections/engine/select.ts';
import { fromJson, type Selection, toJson } from '../../../../src/agent/detections/engine/selection.ts';
import { visit } from '../../../../src/agent/detections/sigma/log-source.ts';
import type { ParsedRule } from '../../../../src/agent/detections/sigma/rule.ts';
import { readRuleSet } from '../../../../src/agent/detections/sigma/rule-set.ts';
import { readYaml } from '../../../../src/agent/detections/sigma/yaml.ts';
import { subjectOf } from '../../../../src/agent/detections/subjects.ts';
import { sampled } from '../../../fuzz.ts';
import { benignStarts } from '../benign-starts.ts';
import { rulesOf, ruleWith, SetClock, subject } from '../rules.ts';
import { ruleCases } from '../unseen-cases.ts';

/** As if nothing had been made before. */
const plain = (rules: readonly ParsedRule[]): readonly ParsedRule[] =>
  rules.map((rule) =>
    rule.is === 'correlation' ? rule : { is: rule.is, facts: rule.facts, expression: rule.expression },
  );

describe('the selection of rules', () => {
  it('stays the same after a round trip through JSON', () => {
    const expressions = rulesOf(
      ruleWith('s: { Name|contains: [Wget, curl], Path|endswith: /sh }\ncondition: s'),
      ruleWith('s: { Name|re: "a+(bcd|efg)" }\nt: { Name|re: "x*" }\ncondition: s or t').replace(
        'title: T',
        'title: U',
      ),
    ).flatMap((rule) => (rule.is === 'detection' ? [rule.expression] : []));
    const selection = select(expressions, () => []);
    const kept: Selection = fromJson(JSON.parse(JSON.stringify(toJson(selection))));
    assert.deepEqual(kept, selection);
    assert.deepEqual([...selection.tables.always], [1]);
    assert.deepEqual([...selection.tables.firstGates], [0, 0, 2]);
  });

  it('is shipped with the rules, except those that depend on the twin', () => {
    for (const rule of builtInRules().rules) {
      if (rule.is === 'correlation') continue;
      let depends = rule.facts.requires.length > 0;
      visit(rule.expression, (_, test) => {
        if (test?.is === 'list') depends = true;
      });
      assert.equal(rule.made === undefined, depends, rule.facts.title);
    }
  });

  it('leads to the same matches as one computed on the device', () => {
    const clock = new SetClock();
    const { rules } = builtInRules();
    const [shipped, found] = [rules, plain(rules)].map((all) => new Detector({ rules: all, clock }));
    const starts = [
      ...sampled(benignStarts().filter((_, index) => index % 20 === 0)),
      ...sampled(ruleCases()).flatMap(({ events }) => events.filter(({ event }) => event === 'ProcessCreate')),
    ];
    let matching = 0;
    for (const payload of starts) {
      const evaluations = [shipped, found].map((detector) => {
        const happened = subjectOf({ name: 'ProcessCreate', payload: { ...payload }, time: 0 });
        assert.ok(happened !== undefined);
        return detector?.match(happened).matches.map(({ rule, views, cut }) => ({ id: rule.facts.id, views, cut }));
      });
      assert.deepEqual(evaluations[0], evaluations[1]);
      if (evaluations[0]?.length !== 0) matching += 1;
    }
    assert.ok(matching > starts.length / 5, `${matching} of ${starts.length} match`);
  });

  it("is computed on the device for the operator's rules, in addition to the shipped ones", () => {
    const own = rulesOf(ruleWith('s: { ErrorType: Mine }\ncondition: s'));
    const detector = new Detector({ rules: [...builtInRules().rules, ...own], clock: new SetClock() });
    const alerts = (ErrorType: string) =>
      detector
        .evaluate(subject({ Event: 'ConfigurationError', ErrorType }))
        .map(({ rule: { alert, title } }) => alert ?? title);
    assert.deepEqual([alerts('Mine'), alerts('TypeMismatch')], [['T'], ['VAKT_ConfigurationError']]);
  });

  it('is computed on the device for shipped rules with a filter of the operator', () => {
    const filter = `title: Ours
logsource: { service: vakt, category: agent }
filter:
  rules: any
  ours: { ErrorType: Mine }
  condition: not ours
`;
    const { documents } = readYaml(filter, 'own.yml', 'local');
    const { rules, faults } = readRuleSet([...builtInDocuments(), ...documents]);
    assert.deepEqual(faults, []);
    const agent = rules.filter(({ is, facts }) => is === 'detection' && facts.sources.includes('agent'));
    assert.ok(agent.length > 0 && agent.every((rule) => rule.is === 'detection' && rule.made === undefined));
    const detector = new Detector({ rules, clock: new SetClock() });
    const hits = (ErrorType: string) => detector.evaluate(subject({ Event: 'ConfigurationError', ErrorType })).length;
    assert.deepEqual([hits('TypeMismatch'), hits('Mine')], [1, 0]);
  });
});
