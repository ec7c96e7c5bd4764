import assert from 'node:assert/strict';
import fc from 'fast-check';
import { fuzzRuns } from '../../../fuzz.ts';
import { faultOf, matches, ruleWith } from '../rules.ts';

const SELECTIONS = `a: { A: 1 }
b: { B: 1 }
c_one: { C: 1 }
c_two: { D: 1 }`;

const names = ['A', 'B', 'C', 'D'] as const;
type World = Readonly<Record<(typeof names)[number], boolean>>;

const worlds: readonly World[] = Array.from({ length: 16 }, (_, bits) => ({
  A: (bits & 1) > 0,
  B: (bits & 2) > 0,
  C: (bits & 4) > 0,
  D: (bits & 8) > 0,
}));
const fieldsOf = (world: World) => Object.fromEntries(names.filter((name) => world[name]).map((name) => [name, '1']));

/** All selections must be used; this uses them and changes nothing. */
const used = (condition: string) => `(${condition}) and (a or not a or b or c_one or c_two)`;

describe('conditions', () => {
  for (const [condition, expected] of Object.entries<(world: World) => boolean>({
    a: ({ A }) => A,
    'not a': ({ A }) => !A,
    'not not a': ({ A }) => A,
    'a and b': ({ A, B }) => A && B,
    'a or b': ({ A, B }) => A || B,
    'a or b and c_one': ({ A, B, C }) => A || (B && C),
    '(a or b) and c_one': ({ A, B, C }) => (A || B) && C,
    'not a and b': ({ A, B }) => !A && B,
    'not (a and b)': ({ A, B }) => !(A && B),
    'a AND NOT b': ({ A, B }) => A && !B,
    '1 of c_*': ({ C, D }) => C || D,
    'any of c_*': ({ C, D }) => C || D,
    'all of c_*': ({ C, D }) => C && D,
    '1 of them': ({ A, B, C, D }) => A || B || C || D,
    'all of them': ({ A, B, C, D }) => A && B && C && D,
    'not 1 of c_*': ({ C, D }) => !(C || D),
    'a and not all of c_*': ({ A, C, D }) => A && !(C && D),
    '1 of *_two': ({ D }) => D,
    '1 of c*o*': ({ C, D }) => C || D,
    'a and 1 of c_* or b': ({ A, B, C, D }) => (A && (C || D)) || B,
  }))
    it(`evaluate "${condition}" correctly`, () => {
      const detection = `${SELECTIONS}\ncondition: ${used(condition)}`;
      for (const world of worlds)
        assert.equal(matches(detection, fieldsOf(world)), expected(world), JSON.stringify(world));
    });

  it('agree with the same operators in JavaScript', () => {
    const conditions = fc.letrec<{ text: string }>((tie) => ({
      text: fc.oneof(
        { maxDepth: 4 },
        fc.constantFrom('a', 'b', 'c_one', 'c_two'),
        tie('text').map((of) => `not ${of}`),
        fc.tuple(tie('text'), tie('text')).map(([x, y]) => `(${x} and ${y})`),
        fc.tuple(tie('text'), tie('text')).map(([x, y]) => `(${x} or ${y})`),
      ),
    })).text;
    fc.assert(
      fc.property(conditions, fc.constantFrom(...worlds), (condition, world) => {
        const script = condition
          .replaceAll('not', '!')
          .replaceAll('and', '&&')
          .replaceAll('or', '||')
          .replaceAll('c_one', 'C')
          .replaceAll('c_two', 'D')
          .replaceAll(/\ba\b/g, 'A')
          .replaceAll(/\bb\b/g, 'B');
        const own = new Function(...names, `return ${script}`)(...names.map((name) => world[name])) as boolean;
        assert.equal(matches(`${SELECTIONS}\ncondition: ${used(condition)}`, fieldsOf(world)), own, condition);
      }),
      { numRuns: fuzzRuns(2_000) },
    );
  });

  it('allow several conditions as alternatives', () => {
    const detection = `a: { A: 1 }\nb: { B: 1 }\ncondition: [a, b]`;
    assert.ok(matches(detection, { B: '1' }));
    assert.ok(!matches(detection, { C: '1' }));
  });

  for (const [pattern, isMeant] of [
    ['them', false],
    ['*', false],
    ['*b', false],
    ['_*', true],
  ] as const)
    it(`${isMeant ? 'include' : 'exclude'} selections that start with _ ${isMeant ? 'in' : 'from'} "${pattern}"`, () => {
      const detection = `a: { A: 1 }\nb: { A: 1 }\n_b: { B: 1 }\ncondition: 1 of ${pattern} or (_b and a and b)`;
      assert.equal(matches(detection, { B: '1' }), isMeant);
    });

  for (const condition of ['1 of them', 'all of them', 'a'])
    it(`accept "${condition}" without selections that start with _`, () => {
      const detection = `a: { A: 1 }\n_b: { B: 1 }\ncondition: ${condition}`;
      assert.ok(matches(detection, { A: '1' }));
      assert.ok(!matches(detection, { B: '1' }));
    });

  it('treat a list of maps as alternatives, and the members of a map as a conjunction', () => {
    const detection = `a:\n  - A: 1\n    B: 1\n  - C: 1\ncondition: a`;
    assert.ok(matches(detection, { A: '1', B: '1' }));
    assert.ok(matches(detection, { C: '1' }));
    assert.ok(!matches(detection, { A: '1' }));
  });

  for (const [condition, why] of Object.entries({
    '': /empty/,
    'a and': /ends where/,
    '(a': /has no "\)"/,
    'a)': /"\)" was not expected/,
    'a b': /"b" was not expected/,
    'nobody or a': /no selection is called "nobody"/,
    '1 of x*': /no selection is called "x\*"/,
    '2 of c_*': /"2 of" is not known/,
    '1 of': /ends after "of"/,
    'a | count() > 5': /correlations have replaced/,
    [`${'('.repeat(60)}a${')'.repeat(60)}`]: /nested parentheses/,
  }))
    it(`reject "${condition.slice(0, 20)}"`, () =>
      assert.match(faultOf(ruleWith(`a: { A: 1 }\ncondition: "${condition}"`)), why));

  it('must use all selections', () =>
    assert.equal(faultOf(ruleWith('a: { A: 1 }\nb: { B: 1 }\ncondition: a')), '5: the condition does not use "b"'));
});
