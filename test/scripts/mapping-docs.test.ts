import assert from 'node:assert/strict';
import { mappingPage, readMapping } from '../../scripts/mapping-docs.ts';
import { defaultRules } from '../../src/baseline/rule-set.ts';

describe('The mapping of rules to published requirements', () => {
  const { standards, categories } = readMapping();

  it('has every category of rules, and no other', () => {
    assert.deepEqual(Object.keys(categories).sort(), Object.keys(defaultRules().categories).sort());
  });

  it('names each requirement with its subject, and lists none that no category has', () => {
    for (const [id, { requirements }] of Object.entries(standards)) {
      const used = Object.values(categories).flatMap((of) => of[id] ?? []);
      assert.deepEqual([...new Set(used)].sort(), Object.keys(requirements).sort());
    }
    const known = Object.values(categories).flatMap((of) => Object.keys(of));
    assert.deepEqual([...new Set(known)].sort(), Object.keys(standards).sort());
  });

  it('says in its page that it is ours, and no proof of conformity', () => {
    const page = mappingPage({ standards, categories }, defaultRules());
    assert.match(page, /This mapping is ours/);
    assert.match(page, /no proof of conformity/);
    assert.match(
      page,
      /\| \[ssh\]\(\.\.\/baseline\/README\.md#ssh\) +\| CR 1\.1, CR 3\.1, CR 4\.3 +\| 5\.1-3, 5\.5-1 +\| \(d\), \(e\) +\|/,
    );
  });
});
