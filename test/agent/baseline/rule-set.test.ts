import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import fc from 'fast-check';
import { primitives } from '../../../src/agent/baseline/primitives/index.ts';
import { defaultRules, loadRules } from '../../../src/agent/baseline/rule-set.ts';
import { fuzzRuns } from '../../fuzz.ts';
import { temporaryFolder } from '../../harness/folders.ts';

const COMPILED = 'config/baseline/rules.json';

describe('defaultRules', () => {
  const rules = defaultRules();

  it('returns at least 379 rules of level 1, and no id twice', () => {
    assert.ok(rules.checks.filter(({ rule }) => rule.level === 1).length >= 379);
    assert.equal(new Set(rules.checks.map(({ rule }) => rule.id)).size, rules.checks.length);
  });

  it('returns the licence and the origin of the rules', () => {
    assert.equal(rules.licence, 'MIT');
    assert.match(rules.origin, /no text of a benchmark is copied/);
  });

  it('returns rules that use every primitive, every category and every role', () => {
    const used = new Set<string>(rules.checks.map(({ rule }) => rule.primitive));
    assert.deepEqual(
      primitives.map(({ name }) => name).filter((name) => !used.has(name)),
      [],
    );
    const roles = new Set(rules.checks.flatMap(({ rule }) => rule.appliesTo.notRole ?? []));
    assert.deepEqual([...roles].sort(), Object.keys(rules.roles).sort());
    const categories = new Set(rules.checks.map(({ rule }) => rule.category));
    assert.deepEqual([...categories], Object.keys(rules.categories));
  });

  it('returns an explanation of every rule, and of no other', () => {
    for (const { rule } of rules.checks) {
      const { title, expected, remediation, source } = rules.explain(rule.id) ?? {};
      assert.ok(title && expected && remediation && source && source.length > 0, rule.id);
    }
    assert.equal(rules.explain('no.such-rule'), undefined);
  });

  it('returns the SHA-256 of the compiled file', () => assert.match(rules.sha256, /^[0-9a-f]{64}$/));
});

describe('loadRules', () => {
  let path: string;
  const load = () => loadRules(pathToFileURL(path));

  type Rule = Record<string, unknown>;
  type File = { rules: Rule[] };
  const read = () => JSON.parse(readFileSync(COMPILED, 'utf8')) as File;

  beforeEach(() => {
    path = join(temporaryFolder(), 'rules.json');
    writeFileSync(path, JSON.stringify(read()));
  });

  const change = (edit: (file: File) => void) => {
    const file = read();
    edit(file);
    writeFileSync(path, JSON.stringify(file));
  };
  const set = (name: string, value: unknown) => (file: File) => {
    const [first] = file.rules;
    assert.ok(first);
    first[name] = value;
  };

  it('returns another digest after any change', () => {
    const before = load().sha256;
    change(set('title', 'Something else'));
    assert.notEqual(load().sha256, before);
  });

  for (const [what, edit, why] of [
    ['an unknown primitive', set('primitive', 'shell'), /: rules\[0\]\.primitive: /],
    [
      'an unknown parameter',
      set('params', { must: 'exist', paths: ['/etc/x'], run: '/bin/sh' }),
      /: rules\[0\]\.params\.run: /,
    ],
    [
      'an unknown feature',
      set('appliesTo', { needs: ['sshd|magic'], container: true }),
      /needs\[0\]: is not a feature: sshd\|magic/,
    ],
    ['an unknown role', set('appliesTo', { notRole: ['wizard'], container: true }), /names the unknown role wizard/],
    ['an unknown category', set('category', 'magic'), /has the unknown category magic/],
    ['the name of a member of Object as category', set('category', 'constructor'), /unknown category constructor/],
    ['the same id twice', (file: File) => file.rules.push(...file.rules.slice(0, 1)), /occurs twice/],
    ['an invalid CCE id', set('cce', 'CCE-1'), /rules\[0\]\.cce: is not a CCE id/],
  ] as const)
    it(`rejects a file with ${what}`, () => {
      change(edit);
      assert.throws(load, why);
    });

  it('loads a file with a random change, or rejects it with the path of the fault', () => {
    const { rules, ...head } = read();
    const text = JSON.stringify({ ...head, rules: rules.filter(({ category }) => category === 'ssh') });
    const places = [...text.matchAll(/"[^"\n]*"|\d+|true|false|[[\]{}:,]/g)];
    fc.assert(
      fc.property(
        fc.nat(places.length - 1),
        fc.constantFrom('', 'null', '"x"', '-1', '[]', '{}', '"/etc/../x"', '"(?=x)"', '"__proto__"', ','),
        (at, put) => {
          const place = places[at];
          assert.ok(place);
          writeFileSync(path, text.slice(0, place.index) + put + text.slice(place.index + place[0].length));
          try {
            load();
          } catch (error) {
            assert.ok(
              error instanceof SyntaxError || /^rules\.json: .+: |^rules\.json: \S+ /.test((error as Error).message),
              String(error),
            );
          }
        },
      ),
      { numRuns: fuzzRuns(1_000) },
    );
  });
});
