import assert from 'node:assert/strict';
import type { Lists } from '../../../../src/agent/detections/detector.ts';
import { faultOf, matches, ruleWith } from '../rules.ts';

/** A member of a selection, what its field is, and whether it matches; `null`: the field is absent. */
type Row = readonly [member: string, value: string | null, matches: boolean];

const TABLES: Readonly<Record<string, readonly Row[]>> = {
  'a plain value': [
    ['F: abc', 'abc', true],
    ['F: abc', 'ABC', true],
    ['F: abc', 'abcd', false],
    ['F: abc', null, false],
    ['F: 7', '7', true],
    ['F: 7', '70', false],
    ['F|contains: 12345678901234567890', 'x 12345678901234567890', true],
    ['F|contains: 12345678901234567890', 'x 12345678901234567000', false],
    ['F: 1.10', '1.10', true],
    ['F: 1.10', '1.1', false],
    ['F: 007', '007', true],
    ['F: 0x1F', '0x1F', true],
    ['F: true', 'true', true],
    ["F: ''", '', true],
    ["F: ''", null, false],
    ["F: ''", 'a', false],
    ['F: null', null, true],
    ['F: null', '', false],
    ['F: [a, null]', null, true],
    ['F: [a, b]', 'b', true],
    ['F: [a, b]', 'c', false],
  ],
  wildcards: [
    ['F: a*c', 'abbc', true],
    ['F: a*c', 'ac', true],
    ['F: a*c', 'acd', false],
    ['F: a?c', 'abc', true],
    ['F: a?c', 'ac', false],
    ['F: "*"', 'x', true],
    ['F: "*"', null, false],
    ['F: "*b*"', 'abc', true],
    ['F: "a*b*c"', 'axbxbxc', true],
    ['F: "?"', '', false],
    ['F: a\\*c', 'a*c', true],
    ['F: a\\*c', 'abc', false],
    ['F: a\\?c', 'a?c', true],
    ['F: a\\\\*c', 'a\\bc', true],
    ['F: a\\\\c', 'a\\c', true],
    ['F: a\\c', 'a\\c', true],
    ['F: \\x7f', '\\x7f', true],
    ['F|contains: a*c', 'xxabcxx', true],
    ['F|endswith: a?c', 'xxabc', true],
    ['F|endswith: a?c', 'xxabcx', false],
  ],
  'contains startswith endswith': [
    ['F|contains: b', 'aBc', true],
    ['F|contains: d', 'abc', false],
    ['F|startswith: a', 'Abc', true],
    ['F|startswith: b', 'abc', false],
    ['F|endswith: c', 'abC', true],
    ['F|endswith: b', 'abc', false],
    ['F|contains: b', null, false],
    ['F|contains: [x, c]', 'abc', true],
  ],
  all: [
    ['F|contains|all: [a, c]', 'abc', true],
    ['F|contains|all: [a, d]', 'abc', false],
    ['F|re|all: [a, "c$"]', 'abc', true],
  ],
  're with i m s': [
    ['F|re: b.d', 'abcde', true],
    ['F|re: B', 'abc', false],
    ['F|re|i: B', 'abc', true],
    ['F|re: "^c"', 'ab\ncd', false],
    ['F|re|m: "^c"', 'ab\ncd', true],
    ['F|re: b.c', 'ab\ncd', false],
    ['F|re|s: b.c', 'ab\ncd', true],
    ['F|re|i|s: B.C', 'ab\ncd', true],
    ['F|re: (?i)B', 'abc', true],
    ['F|re: (?P<name>b+?)c', 'abc', true],
    ['F|re: "[[:digit:]]{2}"', 'a12', true],
    ['F|re: "^[]a]$"', ']', true],
    ['F|re: "^[]a]$"', 'a', true],
    ['F|re: "^[]a]$"', 'b', false],
    ['F|re: "^[^]a]$"', 'b', true],
    ['F|re: "^[^]a]$"', ']', false],
    ['F|re: "^[]-a]$"', '_', true],
    ['F|re: \\u00e4', 'ä', true],
    ['F|re: a', null, false],
  ],
  cased: [
    ['F|cased: abc', 'abc', true],
    ['F|cased: abc', 'Abc', false],
    ['F|contains|cased: B', 'aBc', true],
    ['F|contains|cased: b', 'aBc', false],
    ['F|cased: a*C', 'abC', true],
    ['F|cased: a*C', 'abc', false],
  ],
  'case of characters beyond ASCII': [
    ['F: GRÖẞE', 'größe', false],
    ['F: GRÖSSE', 'größe', false],
    ['F: STRÖM', 'ström', true],
    ['F: kernel', '\u212aernel', false],
    ['F|contains: i', 'x\u0130x', false],
    ['F|contains: sh', 'ba\u017fh', false],
    ['F|re|i: sh', 'ba\u017fh', false],
  ],
  cidr: [
    ['F|cidr: 192.168.0.0/16', '192.168.7.1', true],
    ['F|cidr: 192.168.0.0/16', '192.169.0.1', false],
    ['F|cidr: 10.0.0.1', '10.0.0.1', true],
    ['F|cidr: 10.0.0.0/8', '::ffff:10.1.2.3', true],
    ['F|cidr: 2001:db8::/32', '2001:db8:1::5', true],
    ['F|cidr: 2001:db8::/32', '2001:db9::5', false],
    ['F|cidr: fe80::/10', 'fe80::1%eth0', true],
    ['F|cidr: 0.0.0.0/0', '8.8.8.8', true],
    ['F|cidr: 0.0.0.0/0', '2001:db8::1', false],
    ['F|cidr: "::/0"', '2001:db8::1', true],
    ['F|cidr: "::/0"', '1.2.3.4', false],
    ['F|cidr: "::/0"', '::ffff:1.2.3.4', false],
    ['F|cidr: "::/64"', '1.2.3.4', false],
    ['F|cidr: "::ffff:0:0/96"', '1.2.3.4', true],
    ['F|cidr: "::ffff:10.0.0.0/104"', '10.1.2.3', true],
    ['F|cidr: 10.0.0.0/8', 'no address', false],
    ['F|cidr: [10.0.0.0/8, "::1/128"]', '::1', true],
  ],
  exists: [
    ['F|exists: true', 'a', true],
    ['F|exists: true', '', true],
    ['F|exists: true', null, false],
    ['F|exists: false', null, true],
    ['F|exists: false', 'a', false],
  ],
  base64: [
    ['F|base64: foo', 'Zm9v', true],
    ['F|base64|contains: foo', 'xxZm9vxx', true],
    ['F|base64: foo', 'foo', false],
    ['F|base64offset|contains: /bin/sh', Buffer.from('/bin/sh').toString('base64'), true],
    ['F|base64offset|contains: /bin/sh', Buffer.from('x/bin/sh').toString('base64'), true],
    ['F|base64offset|contains: /bin/sh', Buffer.from('xx/bin/shx').toString('base64'), true],
    ['F|base64offset|contains: /bin/sh', Buffer.from('/bin/su').toString('base64'), false],
  ],
  windash: [
    ['F|windash|contains: " -x"', 'a -x', true],
    ['F|windash|contains: " -x"', 'a /x', true],
    ['F|windash|contains: " -x"', 'a \u2013x', true],
    ['F|windash|contains: " -x"', 'a \u2015x', true],
    ['F|windash|contains: " -x"', 'a +x', false],
    ['F|windash|contains: " \u2013enc"', 'a -enc', true],
    ['F|windash|contains: " \u2014enc"', 'a /enc', true],
    ['F|windash: "*-enc*"', 'a /enc b', true],
    ['F|windash|contains: "\\"-enc"', 'a "/enc"', true],
    ['F|windash|contains: " --enc"', 'a \u2013-enc', true],
    ['F|windash|contains: " a-b"', ' a/b', false],
    ['F|windash|contains: " ä-b"', ' ä/b', false],
    ['F|windash|contains: " /usr/bin"', ' -usr/bin', true],
    ['F|windash|contains: " /usr/bin"', ' /usr-bin', false],
    ['F|windash|contains|all: [" -x", " /y"]', 'a /x -y', true],
  ],
  'lt lte gt gte': [
    ['F|lt: 5', '4', true],
    ['F|lt: 5.0', '4', true],
    ['F|lt: 0x1F', '30', true],
    ['F|lt: 5', '5', false],
    ['F|lte: 5', '5', true],
    ['F|lte: 5', '6', false],
    ['F|gt: 5', '10', true],
    ['F|gt: 5', '5', false],
    ['F|gte: 5', '5', true],
    ['F|gte: 5', '4', false],
    ['F|gte: 5', 'many', false],
    ['F|lt: 5', '', false],
    ['F|lt: 5', null, false],
  ],
  neq: [
    ['F|neq: a', 'b', true],
    ['F|neq: a', 'A', false],
    ['F|neq: a', null, true],
    ['F|neq: [a, b]', 'b', false],
    ['F|contains|neq: a', 'cab', false],
  ],
  fieldref: [
    ['F|fieldref: G', 'same', true],
    ['F|fieldref: G', 'SAME', true],
    ['F|fieldref|cased: G', 'SAME', false],
    ['F|fieldref: G', 'other', false],
    ['F|fieldref|startswith: G', 'same one', true],
    ['F|fieldref|endswith: G', 'the same', true],
    ['F|fieldref|contains: G', 'the same one', true],
    ['F|fieldref|neq: G', 'other', true],
    ['F|fieldref: H', 'same', false],
  ],
};

const LISTS: Lists = {
  allowedUsers: ['root', 'ops*'],
  allowedRemotes: ['10.0.0.0/8', '192.0.2.7'],
  allowedPorts: ['22', '443'],
  badAddresses: ['::/0'],
};

const EXPANDED: readonly Row[] = [
  ['F|expand: "%allowedUsers%"', 'ROOT', true],
  ['F|expand: "%allowedUsers%"', 'ops-7', true],
  ['F|expand: "%allowedUsers%"', 'guest', false],
  ['F|expand: "%allowedProcesses%"', 'root', false],
  ['F|expand|cidr: "%allowedRemotes%"', '10.9.8.7', true],
  ['F|cidr|expand: "%allowedRemotes%"', '192.0.2.8', false],
  ['F|cidr|expand: "%badAddresses%"', '2001:db8::1', true],
  ['F|cidr|expand: "%badAddresses%"', '1.2.3.4', false],
  ['F|expand|contains: "%allowedPorts%"', 'x443', true],
  ['F|expand: "port %allowedPorts%"', 'port 22', true],
  ['F|expand: "\\\\%allowedPorts%"', '%allowedPorts%', true],
  ['F|expand: "\\\\%allowedPorts%"', '22', false],
  ['F|expand|endswith: "100\\\\% of %allowedPorts%"', 'is 100% of 22', true],
  ['F|expand: ["%allowedPorts%", "8080"]', '22', false],
];

/** Positions of a command name; programs and scripts of the system. */
const COMMANDS: readonly Row[] = [
  ['F|re|expand: "%command%tor( |$)"', 'tor', true],
  ['F|re|expand: "%command%tor( |$)"', '/usr/bin/tor -f x', true],
  ['F|re|expand: "%command%tor( |$)"', 'sh -c cd /tmp; HOME=/tmp ./tor', true],
  ['F|re|expand: "%command%tor( |$)"', "bash -lc 'tor'", false], // no quote is left by then
  ['F|re|expand: "%command%tor( |$)"', 'bash -lc tor', true],
  ['F|re|expand: "%command%tor( |$)"', 'while :; do tor ; done', true],
  ['F|re|expand: "%command%tor( |$)"', '* * * * * root /opt/tor', true],
  ['F|re|expand: "%command%tor( |$)"', 'true && sudo tor', true],
  ['F|re|expand: "%command%tor( |$)"', 'apt-get install tor', false],
  ['F|re|expand: "%command%tor( |$)"', 'ls /etc/tor', false],
  ['F|re|expand: "%command%tor( |$)"', 'useradd --home=/x tor', false],
  ['F|re|expand: "%system%grep$"', '/usr/local/bin/grep', true],
  ['F|re|expand: "%system%grep$"', '/bin/grep', true],
  ['F|re|expand: "%system%grep$"', '/tmp/usr/bin/grep', false],
  ['F|re|expand: "%run%/etc/init.d/%below%"', '/bin/sh -e /etc/init.d/x start', true],
  ['F|re|expand: "%run%/etc/init.d/%below%"', '/etc/init.d/x start', true],
  ['F|re|expand: "%run%/etc/init.d/%below%"', 'sh -c /etc/init.d/x;/tmp/y', false],
  ['F|re|expand: "%run%/etc/init.d/%below%"', 'sh /tmp/x /etc/init.d/x', false],
  ['F|re|expand: "%run%/etc/init.d/%below%"', 'sh /etc/init.d/../../tmp/x', false],
  ['F|re|expand: "%run%%place%lynis%below%"', 'sh /usr/sbin/lynis audit', true],
  ['F|re|expand: "%run%%place%lynis%below%"', '/usr/share/lynis/include/x', true],
  ['F|re|expand: "%run%%place%lynis%below%"', 'sh lynis audit', false],
  ['F|re|expand: "%run%%place%lynis%below%"', 'sh /usr/share/../../tmp/lynis', false],
  ['F|re|i|expand: ["x", "%command%nc "]', 'NC -l', true],
  ['F|expand|re: ["^x", "%command%nc "]', 'xy', true],
];

const addresses = (ofThis: string, ofNone: string, all: string): readonly Row[] =>
  all.split(' ').flatMap((address): Row[] => [
    [`F|re|expand: "^%${ofThis}%$"`, address, true],
    [`F|re|expand: "^%${ofNone}%$"`, address, false],
  ]);

const ADDRESSES = [
  ...addresses('private', 'public', '10.0.0.1 127.0.0.1 169.254.1.2 192.168.1.2'),
  ...addresses('private', 'public', '100.64.0.1 100.99.0.1 100.127.0.1 172.16.0.1 172.29.0.1 172.31.0.1'),
  ...addresses('public', 'private', '1.2.3.4 9.9.9.9 11.0.0.1 99.1.2.3 101.1.2.3 126.1.2.3 128.1.2.3 203.0.113.9'),
  ...addresses('public', 'private', '100.63.0.1 100.128.0.1 169.25.0.1 169.253.0.1 169.255.0.1 170.1.2.3'),
  ...addresses('public', 'private', '172.1.0.1 172.15.0.1 172.32.0.1 172.200.0.1 192.16.0.1 192.167.0.1 192.169.0.1'),
];

const check = ([member, value, expected]: Row, lists: Lists = {}) =>
  it(`${member} ${expected ? 'matches' : 'does not match'} ${value === null ? 'an absent field' : JSON.stringify(value)}`, () => {
    const fields = { G: 'same', ...(value === null ? {} : { F: value }) };
    assert.equal(matches(`s:\n  ${member}\ncondition: s`, fields, lists), expected);
  });

describe('modifiers of fields', () => {
  for (const [name, rows] of Object.entries(TABLES)) describe(name, () => rows.forEach((row) => void check(row)));
  describe('expand', () => EXPANDED.slice(0, -1).forEach((row) => void check(row, LISTS)));
  describe('expand of expressions', () => [...COMMANDS, ...ADDRESSES].forEach((row) => void check(row)));

  for (const [member, why] of Object.entries({
    'F|sounds: a': /"sounds" is not known/,
    'F|contains|contains: a': /given twice/,
    'F|contains|endswith: a': /cannot be combined/,
    'F|re|contains: a': /cannot be combined/,
    'F|re|cidr: a': /cannot be combined/,
    'F|i: a': /after "re"/,
    'F|re|cased: a': /cannot be combined/,
    'F|re: (?=a)': /not supported: look-around/,
    'F|re: (a)\\1': /back-reference/,
    'F|re: "[]"': /unexpected end/,
    'F|re: (?:(?:a|b)?c?){250}d': /too many nested repetitions/,
    'F|cidr: 10.0.0.0/40': /not a network/,
    'F|exists: yes please': /true or false/,
    'F|lt: many': /takes a number/,
    'F|contains: null': /null as its value/,
    'F|expand: names': /placeholder/,
    'F|expand: "%Administrators%"': /no list "Administrators"; known: allowedUsers,/,
    'F|expand: "%allowedPorts%%allowedPorts%"': /one in a value/,
    'F|expand: "\\\\%%allowedPorts%%allowedPorts%"': /one in a value/,
    'F|re|expand: "%allowedUsers%x"': /unknown placeholder "%allowedUsers%"; known: command, system, reader, run/,
    'F|expand|exists: true': /cannot be combined/,
    'F|expand: ["%allowedPorts%", "8080"]': /placeholder/,
    'F|all: a': /has no effect/,
    'F: []': /no values/,
    'F: { a: b }': /is a map/,
    'F: [[a]]': /a map or a list/,
    'F|base64: "a*"': /wildcards/,
    'F|base64offset|contains: a': /"a" is too short/,
    'F|base64|contains: ""': /"" is too short/,
    'F|wide|base64: a': /"wide" is not known/,
  }))
    it(`reject ${member}, with its line`, () => {
      const fault = faultOf(ruleWith(`s:\n  G: a\n  ${member}\ncondition: s`));
      assert.match(fault, why);
      assert.match(fault, /^6: /);
    });
});

describe('keywords', () => {
  for (const [selection, fields, expected] of [
    ['[alpha, beta]', { A: 'x ALPHA y' }, true],
    ['[alpha, beta]', { A: 'x', B: 'beta' }, true],
    ['[alpha, beta]', { A: 'gamma' }, false],
    ["{ '|all': [alpha, beta] }", { A: 'alpha', B: 'beta' }, true],
    ["{ '|all': [alpha, beta] }", { A: 'alpha' }, false],
    ["{ '|startswith': alpha }", { A: 'x alpha' }, false],
    ['[al*a]', { A: 'x alpha y' }, true],
  ] as const)
    it(`${selection} ${expected ? 'match' : 'do not match'} ${JSON.stringify(fields)}`, () =>
      assert.equal(
        matches(`k: ${selection}\nunused: { Z: 1, A|exists: true, B|exists: true }\ncondition: k or unused`, fields),
        expected,
      ));
});
