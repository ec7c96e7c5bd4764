import assert from 'node:assert/strict';
import fc from 'fast-check';
import { compilePattern, LONGEST_LINE } from '../../src/base/pattern.ts';
import { defaultRules } from '../../src/baseline/rule-set.ts';
import { fuzzRuns } from '../fuzz.ts';

function matches(pattern: string, line: string): boolean {
  const compiled = compilePattern(pattern);
  assert.ok('matches' in compiled, JSON.stringify(compiled));
  return compiled.matches(line);
}

const problem = (pattern: string) => {
  const compiled = compilePattern(pattern);
  return 'problem' in compiled ? compiled.problem : undefined;
};

/** Patterns of the subset, as text. */
const patterns = fc.letrec<{ atom: string; part: string; sequence: string; choice: string }>((tie) => ({
  atom: fc.oneof(
    { maxDepth: 2 },
    fc.constantFrom(
      'a',
      'b',
      '1',
      ' ',
      '-',
      '.',
      '\\d',
      '\\w',
      '\\s',
      '\\S',
      '\\W',
      '[ab]',
      '[^a]',
      '[a-c1]',
      '[^\\s#]',
    ),
    tie('choice').map((inner) => `(?:${inner})`),
  ),
  part: fc.oneof(
    fc.tuple(tie('atom'), fc.constantFrom('', '', '*', '+', '?', '{2}', '{1,3}', '{2,}')).map(([of, how]) => of + how),
    fc.constantFrom('^', '$', '\\b', '\\B'),
  ),
  sequence: fc.array(tie('part'), { maxLength: 4 }).map((parts) => parts.join('')),
  choice: fc.array(tie('sequence'), { minLength: 1, maxLength: 3 }).map((options) => options.join('|')),
}));

const lines = fc.string({ unit: fc.constantFrom('a', 'b', 'c', '1', ' ', '-', '#', '\t', 'ä'), maxLength: 8 });

describe('patterns of rules', () => {
  it('match what JavaScript’s own match', () => {
    fc.assert(
      fc.property(patterns.choice, fc.array(lines, { minLength: 1, maxLength: 5 }), (pattern, texts) => {
        fc.pre(problem(pattern) === undefined); // too many repetitions
        const own = new RegExp(pattern);
        for (const text of texts) assert.equal(matches(pattern, text), own.test(text), `/${pattern}/ on "${text}"`);
      }),
      { numRuns: fuzzRuns(20_000) },
    );
  });

  it('of the default rules match as JavaScript’s own do', () => {
    const texts = [
      '',
      '# x',
      'Defaults use_pty',
      'umask 022',
      ' TMOUT=900',
      '* hard core 0',
      '::respawn:/bin/sh',
      'x NOPASSWD: ALL',
    ];
    for (const { rule } of defaultRules().checks) {
      const { pattern } = rule.params as { pattern?: string };
      if (pattern === undefined) continue;
      for (const text of texts)
        assert.equal(matches(pattern, text), new RegExp(pattern).test(text), `${rule.id} on ${text}`);
    }
  });

  for (const [pattern, why] of Object.entries({
    'a(?=b)': /look-around/,
    'a(?<!b)': /look-around/,
    '(?<x>a)': /look-around or a named group/,
    '(a)\\1': /a back-reference.* at character 5/,
    '\\k<x>': /a back-reference/,
    'a*?': /lazy/,
    'a**': /second quantifier/,
    '^*': /a quantifier after/,
    '(a': /a group without/,
    'a)': /"\)" without "\("/,
    '[a': /unexpected end/,
    '[b-a]': /out of order/,
    'a{3,1}': /minimum is above its maximum/,
    'a{999}': /above 255/,
    'a{x}': /does not begin a quantifier/,
    '\\q': /unknown escape/,
    '*': /unescaped "\*"/,
    '((((((((((((((((((((((a))))))))))))))))))))))': /groups in one another/,
    '((a{200}){200}){200}': /more repetitions/,
    '(?:(?:(?:){255}){255}){255}': /more repetitions/,
  }))
    it(`refuses ${pattern}`, () => assert.match(problem(pattern) ?? 'accepted', why));

  it('takes time in proportion, where others take for ever', () => {
    const line = `${'a'.repeat(LONGEST_LINE - 1)}!`;
    for (const pattern of [
      '(?:a+)+$',
      '^(?:a|a)*$',
      '(?:a|aa)+$',
      '^(?:a*)*b',
      '.*.*.*.*=.*',
      '(?:(?:a{1,9}){1,9}){1,9}b',
    ]) {
      const began = process.hrtime.bigint();
      assert.equal(matches(pattern, line), false);
      assert.ok(process.hrtime.bigint() - began < 1_000_000_000n, pattern);
    }
  });

  it('look at the beginning of longer lines only', () =>
    assert.equal(matches('b', `${'a'.repeat(LONGEST_LINE)}b`), false));

  it('survive whatever is no pattern', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 60 }), fc.string({ maxLength: 60 }), (pattern, line) => {
        const compiled = compilePattern(pattern);
        if ('matches' in compiled) compiled.matches(line);
        else assert.match(compiled.problem, /pattern$/);
      }),
      { numRuns: fuzzRuns(20_000) },
    );
  });
});
