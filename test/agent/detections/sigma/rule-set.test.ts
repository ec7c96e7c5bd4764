import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Detector } from '../../../../src/agent/detections/detector.ts';
import { readRuleSet, readRuleSetInSlices } from '../../../../src/agent/detections/sigma/rule-set.ts';
import { MAX_FILE_CHARACTERS, readYaml, readYamlInSlices } from '../../../../src/agent/detections/sigma/yaml.ts';
import { subjectOf } from '../../../../src/agent/detections/subjects.ts';
import { fuzzRuns } from '../../../fuzz.ts';
import { faultOf, read, rulesOf, ruleWith, SetClock, subject } from '../rules.ts';

const START = `title: A start
id: start
logsource: { product: linux, category: process_creation }
detection:
  s: { Image|endswith: /x }
  condition: s
`;

const rulesInOneFile = (count: number): string =>
  Array.from(
    { length: count },
    (_, index) =>
      `---\ntitle: T${index}\nid: 11111111-1111-4111-8111-${String(index).padStart(12, '0')}\nlogsource: { category: process_creation }\n` +
      'level: high\ndetection: { s: { CommandLine: x }, condition: s }\n',
  ).join('');

const manySelections = (count: number): string =>
  `title: T\nlogsource: { category: process_creation }\nlevel: high\ndetection:\n` +
  `${Array.from({ length: count }, (_, index) => `  s${index}: { CommandLine|contains: x${index} }\n`).join('')}  condition: 1 of s*\n`;

describe('rule files', () => {
  it("contain a rule's metadata", () => {
    const [rule] = rulesOf(`${START}author: Someone
level: high
status: test
description: D
tags: [attack.execution, attack.t1059]
falsepositives: [F]
references: [https://example.com]
license: MIT
vakt: { alert: IoT_X, remediation: R, key: [Image], requires: [allowedUsers] }
`);
    assert.deepEqual(rule?.facts, {
      id: 'start',
      title: 'A start',
      level: 'high',
      author: 'Someone',
      status: 'test',
      description: 'D',
      tags: ['attack.execution', 'attack.t1059'],
      falsePositives: ['F'],
      references: ['https://example.com'],
      license: 'MIT',
      alert: 'IoT_X',
      remediation: 'R',
      key: ['Image'],
      requires: ['allowedUsers'],
      origin: 'local',
      file: '1.yml',
      sources: ['process_creation'],
      alerts: true,
    });
  });

  it('reject a whole file if it has an error, and load all others', () => {
    const { rules, faults } = read(
      `${START}---\n${START.replace('id: start', 'id: two').replace('s: {', 's: { Bad: 1,')}`,
      ruleWith('s: { A: 1 }\ncondition: s'),
    );
    assert.deepEqual(
      rules.map(({ facts }) => facts.file),
      ['2.yml'],
    );
    assert.deepEqual(faults, [{ file: '1.yml', line: 12, reason: 'events of process_creation have no field "Bad"' }]);
  });

  it('reject a key field that no event has, which would merge all hits into one alert', () => {
    const withKey = (field: string) => `${START}vakt: { key: [User, ${field}] }\n`;
    assert.deepEqual(read(withKey('ParentImage')).faults, []);
    assert.deepEqual(read(withKey('Usr')).faults, [
      { file: '1.yml', line: 7, reason: '"key": events of process_creation have no field "Usr"' },
    ]);
  });

  it('map selections to tags of MITRE ATT&CK', () => {
    const [rule] = rulesOf(`${START}vakt: { selections: { s: [attack.t1053.003, attack.persistence] } }\n`);
    assert.deepEqual(rule?.facts.selectionTags, { s: ['attack.t1053.003', 'attack.persistence'] });
  });

  it('report all errors of several files', () =>
    assert.equal(read('title: a', 'x: [', START.replace('title', 'tilte')).faults.length >= 3, true));

  it('report all errors of a document, each with its line', () => {
    const { faults } = read(`title: x
level: grave
logsource: { product: linux, category: process_creation }
detection:
  s:
    CommandLine|foo: x
    Image|contains|endswith: y
    Image: [a, [b], {}]
  t:
    - Bogus: 1
    - User|expand: '%Administrators%'
  condition: s and q
---
title: y
logsource: { product: windows }
filter:
  f: { User|re: '(?=a)' }
`);
    assert.deepEqual(
      faults.map(({ line, reason }) => `${line}: ${reason.slice(0, 34)}`),
      [
        '2: the level "grave" is not one of informa',
        '6: the modifier "foo" is not known',
        '7: the modifiers "contains" and "ends',
        '8: a value is a map or a list',
        '8: a value is a map or a list',
        '10: events of process_creation have no',
        '11: there is no list "Administrators"; ',
        '12: no selection is called "q"',
        '15: product "windows" is not supported: this',
        '17: "rules" is not a string or a list of strings',
        '17: the expression is not supported: lo',
        '17: "condition" is missing or not a string',
      ].map((text) => text.replace(/^(\d+: .{0,34}).*$/s, '$1')),
    );
  });

  it('reject an id or a name that another rule has', () => {
    const { rules, faults } = read(START, START);
    assert.equal(rules.length, 1);
    assert.match(faults[0]?.reason ?? '', /the id "start" is already used by another rule, in 1.yml/);
  });

  it("reject an id that is another rule's name, because correlations would confuse them", () => {
    const named = START.replace('id: start', 'id: other\nname: start');
    const { rules, faults } = read(named, START);
    assert.deepEqual(
      rules.map(({ facts }) => facts.id),
      ['other'],
    );
    assert.match(faults[0]?.reason ?? '', /the id "start" is already used by another rule, in 1.yml/);
    assert.deepEqual(read(START.replace('id: start', 'id: start\nname: start')).faults, []);
  });

  for (const [logsource, why] of Object.entries({
    '{ product: windows, category: process_creation }': /Linux only/,
    '{ category: process_creation, service: sshd }': /does not read its logs/,
    '{ product: linux }': /neither a known category/,
    '{ category: registry_set }': /"registry_set" is not known/,
    '{ category: login }': /needs "service: vakt"/,
    '{ service: vakt, category: process_creation }': /of service "vakt" is not known/,
    '{ category: process_creation, kind: x }': /"kind" is not known/,
    '{ service: auditd, category: x }': /cannot have a category/,
    '[]': /not a map/,
  }))
    it(`reject the log source ${logsource}`, () => {
      const fault = faultOf(START.replace(/logsource: .*/, `logsource: ${logsource}`));
      assert.match(fault, why);
      assert.match(fault, /^3: /);
    });

  for (const [line, why] of Object.entries({
    'level: grave': /the level "grave" is not one of/,
    'status: fresh': /the status/,
    'taxonomy: other': /the taxonomy/,
    'vakt: { alarm: x }': /"alarm" is not known in "vakt"/,
    'vakt: { alert: "a b" }': /letters, digits/,
    'vakt: { requires: [allowedUser] }': /there is no list "allowedUser"/,
    'vakt: { limit: many }': /there is no list "many"/,
    'vakt: { selections: [s] }': /"selections" is not a map/,
    'vakt: { selections: { other: [attack.t1053] } }': /the rule has no selection "other"/,
    'vakt: { selections: { condition: [attack.t1053] } }': /the rule has no selection "condition"/,
    'vakt: { selections: { s: [t1053] } }': /"t1053" is not a tag of MITRE/,
    'tags: { a: b }': /"tags" is not a string or a list/,
    'author: 7': /"author" is not a string/,
    'action: global': /Sigma 1/,
    'correlation: {}': /needs one of/,
  }))
    it(`reject ${line}`, () => assert.match(faultOf(`${START}${line}\n`), why));

  it('reject aliases, large files and files without a rule', () => {
    assert.match(faultOf(`a: &x [1]\nb: *x\n`), /2: aliases/);
    assert.match(faultOf(`# ${'x'.repeat(MAX_FILE_CHARACTERS)}`), /larger than 256 KiB/);
    assert.match(faultOf('---\n---\n'), /no rule/);
    assert.equal(faultOf('a: 1\na: 2\n'), '2: "a" is given twice');
    assert.equal(faultOf('s:\n  - { 1: x, "1": y }\n'), '2: "1" is given twice', 'both would be the same member');
    assert.doesNotMatch(faultOf('7: x\n007: y\n'), /twice/);
  });

  for (const [what, text, reason] of [
    [
      'very many errors in one line',
      ']'.repeat(MAX_FILE_CHARACTERS),
      '1: Unexpected flow-seq-end token in YAML document: "]"',
    ],
    ['many empty values in a list', `[${','.repeat(20_000)}`, '1: Unexpected , in flow sequence'],
    ['many unknown tags', '- !x y\n'.repeat(4_000), '1: Unresolved tag: !x'],
    ['many unknown directives', '%X y\n'.repeat(5_000), '1: Unknown directive %X'],
  ] as const)
    it(`reject ${what}, with the first 50 errors, in seconds`, () => {
      const before = process.cpuUsage();
      assert.equal(faultOf(text), reason);
      assert.ok(process.cpuUsage(before).user < 15_000_000, 'in microseconds');
      assert.equal(read(text).faults.length, 50);
    });

  for (const [what, text, reason] of [
    ['a list of many values', `a:\n${"  - 'value'\n".repeat(20_000)}`, /^\d+: the document has more than 30000 values/],
    ['a key very often', `{${'k,'.repeat(131_000)}}`, /^1: the document has more than 30000 values/],
    ['many comments', '#\n'.repeat(130_000), /^\d+: the document has more than 30000 values/],
    ['many empty lines', '\n'.repeat(MAX_FILE_CHARACTERS), /^\d+: the document has more than 30000 values/],
    ['many small maps', `[${'{},'.repeat(80_000)}]`, /^1: the document has more than 30000 values/],
    ['a folded text', `a: >\n${' a\n'.repeat(80_000)}`, /a value or comment has more than 32768 characters/],
    ['an expression', `a: '${'(a|b)'.repeat(50_000)}'`, /a value or comment has more than 32768 characters/],
    ['documents that are no rules', '---\na\n'.repeat(40_000), undefined],
    ['rules in one file', rulesInOneFile(1_200), undefined],
    ['selections', manySelections(3_000), undefined],
    ['a rule just below the limit', `${START}more:\n${'  - x\n'.repeat(5_900)}`, undefined],
  ] as const)
    it(`interrupt the reading of ${what} within 250 ms`, () => {
      let longest = 0;
      const finish = <T>(work: Generator<void, T>): T => {
        for (;;) {
          const before = process.cpuUsage();
          const { done, value } = work.next();
          const { user, system } = process.cpuUsage(before);
          longest = Math.max(longest, user + system);
          if (done === true) return value;
        }
      };
      const { documents: all, faults } = finish(readYamlInSlices(text, 'f.yml', 'local'));
      const set = finish(readRuleSetInSlices(all));
      const [fault = set.faults[0]] = faults;
      if (reason !== undefined) assert.match(`${fault?.line}: ${fault?.reason}`, reason);
      if (fault !== undefined) assert.equal(fault.file, 'f.yml');
      // The longest slice takes about 30 ms on an idle machine. Without slices, some of these files take more than a second.
      assert.ok(longest < 250_000, `${longest} µs`);
    });

  it('reject deeply nested input that could crash the parser', () => {
    for (const nested of ['- ', '? ', '- ? ', '[', '{a: ', '- [{'])
      assert.equal(faultOf(`more:\n  ${nested.repeat(10_000)}`), '2: more than 100 nested values');
    assert.doesNotMatch(faultOf(`more:\n  ${'- '.repeat(90)}x\n`), /nested/);
  });

  it('take linear time for a map with many keys', () => {
    const keys = Array.from({ length: 5_900 }, (_, key) => `  k${key}:\n`).join('');
    const before = process.cpuUsage();
    assert.equal(faultOf(`${START}more:\n${keys}`), 'no fault');
    assert.ok(process.cpuUsage(before).user < 2_000_000, 'in microseconds');
  });

  it('reject values with too many modifier variants, before these are made', () => {
    const dashes = (values: number, of: string) =>
      `title: T${values}\nlogsource: { category: process_creation }\ndetection:\n  s:\n    CommandLine|windash|contains:\n` +
      Array.from({ length: values }, (_, index) => `      - '${of} ${index}'\n`).join('') +
      '  condition: s\n';
    assert.equal(rulesOf(dashes(2_000, '-a')).length, 1);
    const before = process.memoryUsage().heapUsed;
    assert.match(faultOf(dashes(2_000, '-a -b -c -d')), /^\d+: the file has more than 10000 spellings/);
    assert.match(faultOf(`${dashes(2_000, '-a')}---\n${dashes(1_000, '-a')}`), /more than 10000 spellings/);
    assert.ok(process.memoryUsage().heapUsed - before < 100_000_000);
  });

  it('reject rules whose expressions would take more than 1 MB of memory in total', () => {
    const expressions = (count: number) => `[${Array.from({ length: count }, (_, at) => `'a${at}[b-d]e'`).join(', ')}]`;
    const rule = (...selections: string[]) =>
      ruleWith(`${selections.map((each, at) => `s${at}: { A|re: ${each} }`).join('\n')}\ncondition: 1 of s*`);
    assert.equal(rulesOf(rule(expressions(120), expressions(120))).length, 1);
    const reason =
      /^5: the expressions of the rule would take more than 1 MB of memory: divide them among several rules/;
    assert.match(faultOf(rule(expressions(120), expressions(140))), reason);
    const letters = Array.from({ length: 1_100 }, (_, at) => String.fromCharCode(0x4e00 + 2 * at));
    assert.match(faultOf(rule(`'${letters.join('')}'`)), /more than 1 MB/);
  });

  it('support only EXECVE records of the kernel’s audit', () => {
    const audit = (selection: string) => `title: A
logsource: { product: linux, service: auditd }
detection:
  s: ${selection}
  condition: s
`;
    assert.equal(rulesOf(audit('{ type: EXECVE, a0: chmod, a1|startswith: "4" }')).length, 1);
    assert.match(faultOf(audit('{ type: SYSCALL }')), /supports only "type: EXECVE"/);
    assert.match(faultOf(audit('{ type: EXECVE, exe: x }')), /not "exe"/);
    assert.match(faultOf(audit('{ a0: x }')), /only rules with "type: EXECVE"/);
    assert.match(faultOf(audit('[word]')), /only rules with "type: EXECVE"/);
  });
});

describe('filters', () => {
  const filter = (rules: string, condition = 'not f') => `title: F
logsource: { service: vakt, category: agent }
filter:
  rules: ${rules}
  f: { Who: me }
  condition: ${condition}
`;
  const rule = ruleWith('s: { A: 1 }\ncondition: s', 'id: r\nname: n\n');
  const hits = (texts: readonly string[], fields: Record<string, string>) =>
    new Detector({ rules: rulesOf(...texts), clock: new SetClock() }).evaluate(subject(fields)).length;

  for (const rules of ['[r]', '[n]', '[T]', 'any'])
    it(`apply to rules with the name ${rules}`, () => {
      assert.equal(hits([rule, filter(rules)], { A: '1' }), 1);
      assert.equal(hits([rule, filter(rules)], { A: '1', Who: 'me' }), 0);
    });

  it('combine with all other filters of a rule, in any order', () => {
    const texts = [rule, filter('any'), filter('[r]').replace('Who', 'Where'), filter('[n]').replace('Who', 'How')];
    for (const field of ['Who', 'Where', 'How']) assert.equal(hits(texts, { A: '1', [field]: 'me' }), 0, field);
    assert.equal(hits(texts, { A: '1', Who: 'you', Where: 'you', How: 'you' }), 1);
  });

  it('apply to each rule that they name', () => {
    const texts = [rule, rule.replace('id: r\nname: n', 'id: q\nname: m').replace('A: 1', 'B: 1'), filter('[r, m]')];
    assert.equal(hits(texts, { A: '1', B: '1' }), 2);
    assert.equal(hits(texts, { A: '1', B: '1', Who: 'me' }), 0);
  });

  it('exempt a start only if all its views are exempt', () => {
    const rule = START.replace('/x }', '/wget }');
    const exempting = (...lines: string[]) =>
      `title: F
logsource: { product: linux, category: process_creation }
filter:
  rules: [start]
  f: { CommandLine|startswith: [${lines.join(', ')}] }
  condition: not f
`;
    const found = (commandLine: string, ...lines: string[]) => {
      const payload = { Executable: '/usr/bin/wget', CommandLine: commandLine };
      const start = subjectOf({ name: 'ProcessCreate', payload, time: 0 });
      const detector = new Detector({ rules: rulesOf(rule, exempting(...lines)), clock: new SetClock() });
      return start === undefined ? [] : detector.evaluate(start).map(({ view }) => view?.CommandLine);
    };
    const [written, normalised] = ['/usr/bin/wget -i /opt/vendor/', 'wget -i /opt/vendor/'];
    assert.deepEqual(found(`${written}list`, written), [`${normalised}list`]);
    assert.deepEqual(found(`${written}list`, written, normalised), []);
    assert.deepEqual(found(`${written}../../tmp/list`, written, normalised), ['wget -i /tmp/list']);
  });

  it('reject unknown rules, other log sources and correlations', () => {
    assert.match(read(rule, filter('[x]')).faults[0]?.reason ?? '', /no rule "x"/);
    assert.match(
      read(rule, filter('[r]').replace('category: agent', 'category: login')).faults[0]?.reason ?? '',
      /a different "logsource"/,
    );
  });
});

/** Documents that look like rules: broken and whole members, mixed. */
const words = fc.constantFrom(
  'title',
  'detection',
  'condition',
  'logsource',
  'correlation',
  'filter',
  'rules',
  's',
  'vakt',
  '1 of s*',
  'not s',
  'a*b',
  '(',
  '%allowedUsers%',
  'process_creation',
  'vakt',
  'agent',
  '5m',
  'event_count',
  'Image|re',
  'CommandLine|contains|all',
  'F|cidr',
  'F|expand',
  '|all',
  '\\',
  '(a+)+$',
  '[a',
  '10.0.0.0/8',
  '__proto__',
  'constructor',
);
const values: fc.Arbitrary<unknown> = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    words,
    fc.string({ maxLength: 8 }),
    fc.constantFrom(null, true, false, 0, -1, 1e9, 3.5),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(words, tie('value'), { maxKeys: 4 }),
  ),
})).value;
/** Mostly what a rule has there. */
const mostly = (usual: fc.Arbitrary<unknown>) =>
  fc.oneof({ weight: 12, arbitrary: usual }, { weight: 1, arbitrary: values });
const texts = fc.oneof(
  words,
  fc.string({ maxLength: 6 }),
  fc.constantFrom('x', '-y', '/bin/*', 'a?', '10.0.0.0/8', 7, true, null),
);
const members = fc.constantFrom(
  'Image',
  'F',
  'Image|endswith',
  'F|contains',
  'F|re',
  'F|re|i',
  'F|re|expand',
  'F|cased',
  'F|cidr',
  'F|expand',
  'F|lt',
  'F|exists',
  'F|base64offset|contains',
  'F|windash',
  'F|fieldref',
  'F|contains|all',
);
const selection = fc.dictionary(members, fc.oneof(texts, fc.array(texts, { minLength: 1, maxLength: 3 })), {
  minKeys: 1,
  maxKeys: 2,
});
const documents = fc
  .record(
    {
      title: mostly(fc.constant('T')),
      id: fc.oneof(fc.string({ minLength: 1, maxLength: 8 }), words),
      logsource: mostly(fc.constantFrom({ service: 'vakt', category: 'agent' }, { category: 'process_creation' })),
      detection: mostly(
        fc.record({
          s: mostly(selection),
          t: mostly(fc.oneof(selection, fc.array(selection, { minLength: 1, maxLength: 2 }))),
          condition: mostly(fc.constantFrom('s and t', 's or not t', '1 of them', 'all of *')),
        }),
      ),
      correlation: fc.oneof(
        fc.record({ type: words, rules: values, timespan: words, condition: values, 'group-by': values }),
        values,
      ),
      filter: fc.oneof(fc.record({ rules: values, s: values, condition: fc.constant('s') }), values),
      level: fc.constantFrom('high', 'none'),
      vakt: values,
    },
    { requiredKeys: ['title', 'logsource', 'detection'] },
  )
  .map(({ correlation, filter, vakt, ...rest }) => ({ ...rest, ...rare({ correlation, filter, vakt }) }));

/** A document is mostly of one kind. */
function rare(all: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(all).filter(([, value]) => JSON.stringify(value ?? '').length % 5 === 0));
}

describe('invalid rule documents', () => {
  const evaluate = (all: readonly unknown[]) => {
    const set = readRuleSet(
      all.map((value, index) => ({ file: `${index}`, origin: 'local', value, lineOf: () => undefined })),
    );
    for (const { reason } of set.faults) assert.ok(reason.length > 0);
    assert.ok(set.rules.length > 0 || set.faults.length > 0);
    const detector = new Detector({ rules: set.rules, clock: new SetClock() });
    detector.evaluate(subject({ Image: '/bin/x', CommandLine: 'x -y', F: '10.1.1.1' }));
    return set.rules.length;
  };

  it('causes a rejection with a reason, and never breaks the engine', () => {
    let loaded = 0;
    fc.assert(
      fc.property(fc.array(fc.oneof(documents, values), { minLength: 1, maxLength: 3 }), (all) => {
        loaded += evaluate(all) > 0 ? 1 : 0;
      }),
      { numRuns: fuzzRuns(100_000) },
    );
    assert.ok(
      loaded > fuzzRuns(100_000) / 100,
      `only ${loaded} of the documents were rules: the test says nothing of the engine`,
    );
  });

  it('causes a rejection as text as well', () => {
    const lines = fc.array(fc.oneof(fc.constantFrom(...START.split('\n')), fc.string({ maxLength: 20 })), {
      maxLength: 12,
    });
    fc.assert(
      fc.property(lines, (text) => {
        const { documents: all, faults } = readYaml(text.join('\n'), 'f', 'local');
        assert.ok(readRuleSet(all).rules.length > 0 || faults.length > 0 || readRuleSet(all).faults.length > 0);
      }),
      { numRuns: fuzzRuns(20_000) },
    );
  });
});
