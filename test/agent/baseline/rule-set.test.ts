import assert from 'node:assert/strict';
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import fc from 'fast-check';
import { primitives } from '../../../src/agent/baseline/primitives/index.ts';
import { defaultRules, loadRules } from '../../../src/agent/baseline/rule-set.ts';
import { fuzzRuns } from '../../fuzz.ts';
import { temporaryFolder } from '../../harness/folders.ts';

const FOLDER = 'config/baseline';

describe('the default rules', () => {
  const rules = defaultRules();

  it('are at least 379 by default, each with an id of its own', () => {
    assert.ok(rules.checks.filter(({ rule }) => rule.level === 1).length >= 379);
    assert.equal(new Set(rules.checks.map(({ rule }) => rule.id)).size, rules.checks.length);
  });

  it('have a licence and an origin', () => {
    assert.equal(rules.licence, 'MIT');
    assert.match(rules.origin, /no text of a benchmark is copied/);
  });

  it('use every primitive and every role', () => {
    const used = new Set<string>(rules.checks.map(({ rule }) => rule.primitive));
    assert.deepEqual(
      primitives.map(({ name }) => name).filter((name) => !used.has(name)),
      [],
    );
    const roles = new Set(rules.checks.flatMap(({ rule }) => rule.appliesTo.notRole ?? []));
    assert.deepEqual([...roles].sort(), Object.keys(rules.roles).sort());
  });

  it('are in one file for each category, and in no other', () => {
    const files = readdirSync(FOLDER).filter((name) => name.endsWith('.json') && name !== 'rule-set.json');
    assert.deepEqual(
      files.sort(),
      Object.keys(rules.categories)
        .map((name) => `${name}.json`)
        .sort(),
    );
  });

  it('can each be explained', () => {
    for (const { rule } of rules.checks) {
      const { title, expected, remediation, source } = rules.explain(rule.id) ?? {};
      assert.ok(title && expected && remediation && source && source.length > 0, rule.id);
    }
    assert.equal(rules.explain('no.such-rule'), undefined);
  });

  it('are known by the digest of their files', () => assert.match(rules.sha256, /^[0-9a-f]{64}$/));
});

describe('a folder of rules', () => {
  let folder: string;
  beforeEach(() => {
    folder = temporaryFolder();
    cpSync(FOLDER, folder, { recursive: true });
  });
  const load = () => loadRules(pathToFileURL(`${folder}/`));

  type File = { rules: Record<string, never>[] };
  const change = (edit: (file: File) => void) => {
    const path = join(folder, 'ssh.json');
    const file = JSON.parse(readFileSync(path, 'utf8')) as File;
    edit(file);
    writeFileSync(path, JSON.stringify(file));
  };
  const set = (name: string, value: unknown) => (file: File) => {
    const [first] = file.rules;
    assert.ok(first);
    first[name] = value as never;
  };

  it('has another digest when anything is changed', () => {
    const before = load().sha256;
    change(set('title', 'Something else'));
    assert.notEqual(load().sha256, before);
  });

  for (const [what, edit, why] of [
    ['an unknown primitive', set('primitive', 'shell'), /: ssh\.json: rules\[0\]\.primitive: /],
    [
      'a parameter that there is not',
      set('params', { syntax: 'sshd', keys: ['x'], want: { op: 'set' }, run: '/bin/sh' }),
      /: ssh\.json: rules\[0\]\.params\.run: /,
    ],
    [
      'an unknown capability',
      set('appliesTo', { needs: ['sshd|magic'], container: true }),
      /needs\[0\]: is not a feature: sshd\|magic/,
    ],
    ['an unknown role', set('appliesTo', { notRole: ['wizard'], container: true }), /names the unknown role wizard/],
    ['another category', set('category', 'cron'), /belongs to cron/],
    ['an id twice', (file: File) => file.rules.push(...file.rules.slice(0, 1)), /occurs twice/],
    ['a CCE id that is none', set('cce', 'CCE-1'), /rules\[0\]\.cce: is not a CCE id/],
  ] as const)
    it(`is refused with ${what}`, () => {
      change(edit);
      assert.throws(load, why);
    });

  it('is refused with the path of the fault, or loaded, whatever is changed in it', () => {
    const text = readFileSync(join(FOLDER, 'ssh.json'), 'utf8');
    const places = [...text.matchAll(/"[^"\n]*"|\d+|true|false|[[\]{}:,]/g)];
    fc.assert(
      fc.property(
        fc.nat(places.length - 1),
        fc.constantFrom('', 'null', '"x"', '-1', '[]', '{}', '"/etc/../x"', '"(?=x)"', '"__proto__"', ','),
        (at, put) => {
          const place = places[at];
          assert.ok(place);
          const changed = text.slice(0, place.index) + put + text.slice(place.index + place[0].length);
          writeFileSync(join(folder, 'ssh.json'), changed);
          try {
            load();
          } catch (error) {
            assert.ok(
              error instanceof SyntaxError || /^ssh\.json: .+: |^ssh\.json: \S+ /.test((error as Error).message),
              String(error),
            );
          }
        },
      ),
      { numRuns: fuzzRuns(1_000) },
    );
  });
});
