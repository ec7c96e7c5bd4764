import assert from 'node:assert/strict';
import { type Base, type Chain, type Rule, rulesOf, type Table } from '../../../../src/agent/linux/firewall/ruleset.ts';
import { changesOfShape } from '../../../shapes.ts';

const rule = (jumps: Rule['jumps'] = []): Rule => ({
  action: 'Other',
  target: 'x',
  matches: {},
  jumps,
  partial: false,
});
const base = (hook: string, policy: Base['policy'] = 'accept'): Base => ({ hook, policy, facts: { hook } });
const chain = (name: string, jumps: Rule['jumps'] = [], at?: Base): Chain => ({
  name,
  rules: [rule(jumps)],
  ...(at === undefined ? {} : { base: at }),
});
const table = (...chains: Chain[]): Table => ({
  origin: 'nftables',
  family: 'inet',
  name: 'filter',
  dormant: false,
  chains,
});

/** Direction of each chain, by its rule: `In`, `Out`, empty, or `off`. */
const directions = (of: Table) =>
  Object.fromEntries(
    rulesOf(of)
      .filter(({ priority }) => priority === 0)
      .map(({ chain: name, enabled, direction }) => [name, enabled ? (direction ?? '') : 'off']),
  );

describe('rulesOf', () => {
  it('returns rules of one shape, since there may be tens of thousands', () => {
    const rules = Array.from({ length: 200 }, () => rule());
    assert.ok(changesOfShape(rulesOf(table({ name: 'input', base: base('input'), rules }))) < 10);
  });

  it('numbers the rules of a chain, and ends it with its policy', () => {
    const input: Chain = { name: 'input', base: base('input', 'drop'), rules: [rule(), rule()] };
    const rules = rulesOf(table(input, chain('lan')));
    assert.deepEqual(
      rules.map(({ chain: name, priority, target, action }) => [name, priority, target, action]),
      [
        ['input', 0, 'x', 'Other'],
        ['input', 1, 'x', 'Other'],
        ['input', 2, 'policy drop', 'Deny'],
        ['lan', 0, 'x', 'Other'],
      ],
    );
    assert.deepEqual(rules[2]?.matches, { hook: 'input' });
  });

  it('returns the hook of a base chain', () => {
    const hooks = ['input', 'output', 'forward', 'prerouting', 'ingress', '__proto__'];
    assert.deepEqual(directions(table(...hooks.map((hook) => chain(`my ${hook}`, [], base(hook))))), {
      'my input': 'In',
      'my output': 'Out',
      'my forward': '',
      'my prerouting': '',
      'my ingress': '',
      'my __proto__': '',
    });
  });

  it('follows jumps, including circles and missing chains', () => {
    assert.deepEqual(
      directions(
        table(
          chain('input', ['a', 'nowhere'], base('input')),
          chain('output', ['c', 'both'], base('output')),
          chain('a', ['b', 'both']),
          chain('b', ['a', 'b', 'input']),
          chain('c'),
          chain('both', ['below']),
          chain('below'),
          chain('alone', ['alsoAlone']),
          chain('alsoAlone', ['alone']),
        ),
      ),
      { input: 'In', output: 'Out', a: 'In', b: 'In', c: 'Out', both: '', below: '', alone: 'off', alsoAlone: 'off' },
    );
  });

  it('treats an unknown jump as one to any chain without a hook', () => {
    assert.deepEqual(
      directions(
        table(chain('input', 'any', base('input')), chain('output', [], base('output')), chain('a', 'any'), chain('b')),
      ),
      { input: 'In', output: 'Out', a: 'In', b: 'In' },
    );
  });

  it('disables a dormant table with its policies', () => {
    const rules = rulesOf({ ...table(chain('input', ['a'], base('input')), chain('a')), dormant: true });
    assert.deepEqual(
      rules.map(({ enabled }) => enabled),
      [false, false, false],
    );
  });

  it('returns no rules for an empty table', () => assert.deepEqual(rulesOf(table()), []));

  it('visits each chain a few times, for any number of chains', () => {
    let looks = 0;
    const counted = (of: Chain): Chain =>
      ({
        name: of.name,
        get base() {
          looks += 1;
          return of.base;
        },
        get rules() {
          looks += 1;
          return of.rules;
        },
      }) as Chain;
    const many = Array.from({ length: 2_000 }, (_, index) =>
      counted(chain(`c${index}`, 'any', index < 500 ? base(`h${index}`) : undefined)),
    );
    assert.ok(rulesOf(table(...many)).every(({ enabled }) => enabled));
    assert.ok(looks <= 20 * many.length, `${looks} looks at ${many.length} chains`);
  });
});
