import assert from 'node:assert/strict';
import { createContext, Script } from 'node:vm';
import fc from 'fast-check';
import { defaultRules } from '../../../src/agent/baseline/rule-set.ts';
import {
  compilePattern,
  LONGEST_LINE,
  ownAutomata,
  ownTables,
  type PatternOptions,
  shippedAutomata,
  shippedTables,
} from '../../../src/agent/pattern/pattern.ts';
import { fold, foldCode } from '../../../src/agent/pattern/ranges.ts';
import { errnoOf } from '../../../src/core/base/errors.ts';
import { fuzzRuns } from '../../fuzz.ts';

function matches(pattern: string, line: string, options?: PatternOptions): boolean {
  const compiled = compilePattern(pattern, options);
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

const world = createContext({});
const script = new Script('new RegExp(pattern, flags).test(text)');

/** What JavaScript makes of it; `undefined` if it takes longer than a second: some patterns would take it hours. */
function javaScript(pattern: string, text: string, flags = ''): boolean | undefined {
  Object.assign(world, { pattern, text, flags });
  try {
    return script.runInContext(world, { timeout: 1_000 }) as boolean;
  } catch (error) {
    if (errnoOf(error) === 'ERR_SCRIPT_EXECUTION_TIMEOUT') return undefined;
    throw error;
  }
}

/** What `$` is for other engines. */
const LAST_LINE_END = '(?=\\n?(?![^]))';

const lines = fc.string({ unit: fc.constantFrom('a', 'b', 'c', '1', ' ', '-', '#', '\t', 'ä'), maxLength: 8 });

const manySets = `${Array.from({ length: 400 }, (_, at) => 'aab'[(at * at) % 3]).join('')}${'aab aba '.repeat(40)}`;
/** Half a megabyte. */
const large = (end: number, options?: PatternOptions) => {
  const text = `${Array.from({ length: 690 }, (_, at) => String.fromCharCode(0x4e00 + 2 * at)).join('')}x${end}`;
  const compiled = compilePattern(`${text}|a(?:b?.){200}(?:c?.){200}x${end}`, options);
  assert.ok('matches' in compiled);
  return { ...compiled, text };
};

describe('patterns of rules', () => {
  it('patterns match what JavaScript’s own match', () => {
    fc.assert(
      fc.property(patterns.choice, fc.array(lines, { minLength: 1, maxLength: 5 }), (pattern, texts) => {
        fc.pre(problem(pattern) === undefined); // too many repetitions
        for (const text of texts) {
          const own = javaScript(pattern, text);
          fc.pre(own !== undefined);
          assert.equal(matches(pattern, text), own, `/${pattern}/ on "${text}"`);
        }
      }),
      { numRuns: fuzzRuns(20_000) },
    );
  });

  it('patterns of the default rules match as JavaScript’s own do', () => {
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

  it('accepts any number of groups, nested up to 20 levels', () => {
    assert.ok(matches('(a)'.repeat(50), 'a'.repeat(50)));
    assert.ok(matches(`${'('.repeat(19)}a${')'.repeat(19)}`, 'a'));
    assert.match(problem(`${'('.repeat(20)}a${')'.repeat(20)}`) ?? 'accepted', /groups in one another/);
  });

  it('matching takes linear time where other engines take forever', () => {
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

  it('match with flags as JavaScript’s own do', () => {
    const texts = fc.string({
      unit: fc.constantFrom('a', 'B', 'A', 'ä', 'Ä', '\u212a', 'k', '\u017f', 's', '\n', '1'),
      maxLength: 8,
    });
    const parts = fc
      .array(
        fc.constantFrom(
          'a',
          'b',
          'K',
          's',
          'ä',
          '[a-b]',
          '[^a]',
          '[^ä]',
          '.',
          '^',
          '$',
          '\\b',
          '\\w',
          '\\W',
          '|',
          '[Ä-Ü]',
        ),
        { maxLength: 5 },
      )
      .map((all) => all.join(''));
    fc.assert(
      fc.property(parts, texts, fc.subarray(['i', 'm', 's'] as const), (pattern, text, flags) => {
        const options = Object.fromEntries(flags.map((flag) => [flag, true]));
        fc.pre(!('problem' in compilePattern(pattern, options)));
        const own = javaScript(pattern, text, flags.join(''));
        fc.pre(own !== undefined);
        assert.equal(matches(pattern, text, options), own, `/${pattern}/${flags.join('')} on ${JSON.stringify(text)}`);
      }),
      { numRuns: fuzzRuns(20_000) },
    );
  });

  it('match the same when sets of states do not fit', () => {
    // Many sets of states: each text is searched with all states at once.
    const many = '(?:a.{0,40}b|b.{0,30}\\bc|^x)(?:d|$)';
    const longer = fc.string({
      unit: fc.constantFrom('a', 'a', 'b', 'c', 'd', ' ', 'x', '\n'),
      minLength: 150,
      maxLength: 400,
    });
    for (const [own, wide] of [
      [new RegExp(many), false],
      [new RegExp(many.replace('$', LAST_LINE_END)), true],
    ] as const) {
      const compiled = compilePattern(many, { wide });
      assert.ok('matches' in compiled);
      fc.assert(
        fc.property(longer, fc.constantFrom('', '\n'), (text, end) => {
          const tame = text.replaceAll(/[bc][d\n]?/g, (found) => (found.length > 1 ? 'aa' : found));
          for (const line of [text + end, tame + end]) assert.equal(compiled.matches(line), own.test(line), line);
        }),
        { numRuns: fuzzRuns(3_000) },
      );
    }
  });

  it('match long sequences when sets of states do not fit', () => {
    const long = 'cd'.repeat(40);
    const compiled = compilePattern(`(?:a.{0,60}b|q)${long}$`);
    assert.ok('matches' in compiled);
    const begin = Array.from({ length: 400 }, (_, at) => 'aab'[(at * at) % 3]).join('') + 'aab aba '.repeat(40);
    assert.equal(compiled.matches(`${begin}ab${long}`), true);
    assert.equal(compiled.matches(`${begin}ab${long.slice(2)}`), false);
  });

  it('take no more memory than they may together, and match the same after they were dropped @release', () => {
    const all = Array.from({ length: 20 }, (_, end) => large(end));
    for (let round = 0; round < 2; round += 1) {
      for (const [end, pattern] of all.entries()) {
        assert.equal(pattern.matches(manySets), false);
        assert.ok(ownAutomata.bytes <= ownAutomata.maxBytes);
        assert.equal(pattern.matches(`${manySets}x${end}`), true);
      }
    }
    assert.ok(ownAutomata.remade > 0);
  });

  it('a dropped automaton is rebuilt without affecting the other kind', () => {
    const own = large(0);
    own.matches(manySets);
    const remade = () => ownAutomata.remade + ownTables.remade;
    const before = remade();
    for (let end = 0; end < 20; end += 1) large(end, { known: 'later' }).matches(manySets);
    for (const { bytes, maxBytes } of [shippedAutomata, shippedTables]) assert.ok(bytes > maxBytes / 4, `${bytes}`);
    own.matches(manySets);
    assert.equal(remade(), before);
  });

  it('every matching line contains one of the literals', () => {
    let known = 0;
    fc.assert(
      fc.property(
        patterns.choice,
        fc.array(lines, { minLength: 1, maxLength: 5 }),
        fc.boolean(),
        (pattern, texts, i) => {
          const compiled = compilePattern(pattern, { i });
          fc.pre('matches' in compiled);
          const { literals } = compiled;
          if (literals === undefined) return;
          known += 1;
          for (const text of texts)
            if (compiled.matches(text))
              assert.ok(
                literals.some((each) => fold(text).includes(each)),
                `/${pattern}/ on "${text}": ${literals.join()}`,
              );
        },
      ),
      { numRuns: fuzzRuns(100_000) },
    );
    assert.ok(known > 20, `${known}`);
  });

  for (const [pattern, literals] of Object.entries({
    abc: ['ABC'],
    '(?:wget|curl) .*sh': ['WGET ', 'CURL '],
    'x?': undefined,
    '.*/etc/shadow': ['/ETC/SHADOW'],
    'a{3}b': ['A', 'B'],
    '[ab]c': ['AC', 'BC'],
    '(?:nc|netcat)?': undefined,
  }))
    it(`${pattern} needs ${literals?.join(' or ') ?? 'nothing'}`, () => {
      const compiled = compilePattern(pattern);
      assert.ok('matches' in compiled);
      if (pattern === 'a{3}b') assert.ok(literals?.includes(compiled.literals?.[0] ?? ''));
      else assert.deepEqual(compiled.literals, literals);
    });

  it('literals of a pattern known to be valid are computed on first use', () => {
    for (const known of ['later', { literals: ['WGET '] }] as const) {
      const compiled = compilePattern('wget .*sh', { known });
      assert.ok('matches' in compiled);
      assert.deepEqual(compiled.literals, ['WGET ']);
      assert.ok(compiled.matches('wget x.sh'));
    }
  });

  it('fold as the flag i compares', () => {
    for (let code = 0; code < 0x10000; code += 1) {
      const char = String.fromCharCode(code);
      for (const other of [char.toLowerCase(), char.toUpperCase()]) {
        if (other.length !== 1) continue;
        const same = foldCode(code) === foldCode(other.charCodeAt(0));
        const own = new RegExp(`^\\u${code.toString(16).padStart(4, '0')}$`, 'i').test(other);
        assert.equal(same, own, `${code.toString(16)} and ${other.charCodeAt(0).toString(16)}`);
      }
    }
  });

  for (const [pattern, line, expected] of [
    ['a+?b', 'aab', true],
    ['(?<name>a)b', 'ab', true],
    ['(?P<name>a)b', 'ab', true],
    ['(?i)ab', 'AB', true],
    ['(?is)a.b', 'A\nB', true],
    ['\\Aab\\z', 'ab', true],
    ['\\x41\\u00e4', 'Aä', true],
    ['[[:alpha:]]+7', 'ab7', true],
    ['[^[:space:]]7', ' 7', false],
    ['a{x}', 'a{x}', true],
    ['}]', '}]', true],
  ] as const)
    it(`${pattern} is accepted as other engines write it`, () => {
      assert.equal(matches(pattern, line, { wide: true }), expected);
      assert.ok(problem(pattern) !== undefined, 'only if it is asked for');
    });

  it('. is any character but a line feed as other engines write it', () => {
    for (const end of ['\r', '\u2028', '\u2029']) {
      assert.ok(matches('a.*b', `a${end}b`, { wide: true }));
      assert.ok(!matches('a.*b', `a${end}b`));
    }
    assert.ok(!matches('a.*b', 'a\nb', { wide: true }));
  });

  it('$ is also before a last line feed as other engines write it', () => {
    for (const [pattern, line, expected] of [
      ['a$', 'a\n', true],
      ['a\\Z', 'a\n', true],
      ['a\\z', 'a\n', false],
      ['a$', 'a\n\n', false],
      ['a$', 'a\r', false],
      ['a(?:b|$)', 'xa\n', true],
      ['^$', '\n', true],
      ['(?m)a$', 'a\n', true],
    ] as const)
      assert.equal(matches(pattern, line, { wide: true }), expected, `${pattern} on ${JSON.stringify(line)}`);
    assert.ok(!matches('a$', 'a\n'), 'for JavaScript, it is not');
    fc.assert(
      fc.property(patterns.choice, lines, (pattern, line) => {
        const text = pattern.replaceAll('$', '');
        fc.pre(problem(text) === undefined);
        const own = javaScript(`(?:${text})${LAST_LINE_END}`, `${line}\n`);
        fc.pre(own !== undefined);
        assert.equal(matches(`(?:${text})$`, `${line}\n`, { wide: true }), own, `/(?:${text})$/ on "${line}\\n"`);
      }),
      { numRuns: fuzzRuns(5_000) },
    );
  });

  for (const [pattern, why] of Object.entries({
    'a(?=b)': /look-around/,
    '(?>a)': /special group/,
    'a++': /possessive/,
    'a(?i)b': /special group/,
    '[[:foo:]]': /unknown class/,
    '[[:constructor:]]': /unknown class/,
    '\\p{L}': /unknown escape/,
    'a{2}{3}': /second quantifier/,
  }))
    it(`${pattern} is refused even so`, () => {
      const compiled = compilePattern(pattern, { wide: true });
      assert.match('problem' in compiled ? compiled.problem : 'accepted', why);
    });

  it('a pattern with a longer limit matches that much of a line', () => {
    assert.ok(matches('b', `${'a'.repeat(8_000)}b`, { longestLine: 8_193 }));
  });

  it('know what the worst text costs', () => {
    const cost = (pattern: string) => {
      const compiled = compilePattern(pattern);
      return 'cost' in compiled ? compiled.cost().operations : Number.NaN;
    };
    assert.ok(cost('abc') < 10);
    assert.ok(cost('a.{0,200}b') < 100);
    assert.ok(cost('(?:(?:a|b)?c?){250}d') > 1_000);
  });

  it('an invalid pattern never throws', () => {
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
