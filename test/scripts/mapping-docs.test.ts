import assert from 'node:assert/strict';
import { readMapping, requirementsOf } from '../../scripts/mapping-docs.ts';
import { defaultRules } from '../../src/agent/baseline/rule-set.ts';

describe('The mapping of rules to published requirements', () => {
  const mapping = readMapping();
  const { standards, categories, rules } = mapping;
  const ids = Object.keys(standards);
  const categoryOf = new Map(defaultRules().checks.map(({ rule }) => [rule.id, rule.category]));

  it('has every category of rules, and no other', () => {
    assert.deepEqual(Object.keys(categories).sort(), Object.keys(defaultRules().categories).sort());
    for (const [name, requirements] of Object.entries(categories))
      assert.deepEqual(Object.keys(requirements), ids, name);
  });

  it('names rules only that exist, and only what differs from their category', () => {
    for (const [rule, requirements] of Object.entries(rules)) {
      const category = categories[categoryOf.get(rule) ?? ''] ?? assert.fail(`there is no rule ${rule}`);
      assert.notDeepEqual(requirements, {}, rule);
      for (const [id, own] of Object.entries(requirements)) assert.notDeepEqual(own, category[id], `${rule}, ${id}`);
    }
  });

  it('names each requirement with its subject, and lists none that no rule has', () => {
    for (const [id, { requirements }] of Object.entries(standards)) {
      const used = [...categoryOf].flatMap(([rule, category]) => requirementsOf(mapping, category, rule)[id] ?? []);
      assert.deepEqual([...new Set(used)].sort(), Object.keys(requirements).sort());
    }
    for (const requirements of Object.values(rules)) {
      for (const id of Object.keys(requirements)) assert.ok(ids.includes(id), id);
    }
  });

  it('lists the numbers of a standard in its own order', () => {
    for (const requirements of [...Object.values(categories), ...Object.values(rules)]) {
      for (const [id, numbers] of Object.entries(requirements)) {
        const inOrder = Object.keys(standards[id]?.requirements ?? {}).filter((number) => numbers.includes(number));
        assert.deepEqual(numbers, inOrder);
      }
    }
  });
});
