import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Rule } from '../../../../src/agent/linux/firewall/ruleset.ts';
import { rulesOf } from '../../../../src/agent/linux/firewall/ruleset.ts';
import { fuzzRuns } from '../../../fuzz.ts';
import { parseNftables } from './parse-nftables.ts';
import { assertWellFormed, golden } from './well-formed.ts';

/* How nft writes what: from test/golden/debian13-6.18/firewall-nft.json, and from libnftables-json(5) for what this
 * kernel refuses. */

const payload = (protocol: string, field: string) => ({ payload: { protocol, field } });
const meta = (key: string) => ({ meta: { key } });
const ct = (key: string, dir?: string) => ({ ct: { key, ...(dir === undefined ? {} : { dir }) } });
const match = (left: unknown, right: unknown, op = '==') => ({ match: { op, left, right } });
const source = payload('ip', 'saddr');
const port = payload('tcp', 'dport');
const accept = { accept: null };
const drop = { drop: null };
const jump = (target: string) => ({ jump: { target } });

/** A table `inet filter` with one chain that holds these rules; in it, or beside it, what else is given. */
const listing = (rules: readonly unknown[][], ...otherEntries: object[]) =>
  JSON.stringify({
    nftables: [
      { metainfo: { version: '1.1.3', release_name: 'Commodore Bullmoose #4', json_schema_version: 1 } },
      { table: { family: 'inet', name: 'filter', handle: 1 } },
      {
        chain: {
          family: 'inet',
          table: 'filter',
          name: 'input',
          type: 'filter',
          hook: 'input',
          prio: 0,
          policy: 'drop',
        },
      },
      ...otherEntries,
      ...rules.map((expr) => ({ rule: { family: 'inet', table: 'filter', chain: 'input', expr } })),
    ],
  });
const set = (name: string, elem: unknown) => ({
  set: { family: 'inet', table: 'filter', name, type: 'ipv4_addr', elem },
});
const map = (name: string, elem?: unknown) => ({
  map: {
    family: 'inet',
    table: 'filter',
    name,
    type: 'ifname',
    map: 'verdict',
    ...(elem === undefined ? {} : { elem }),
  },
});

const rulesFrom = (expr: unknown[], ...otherEntries: object[]): readonly Rule[] =>
  parseNftables(listing([expr], ...otherEntries))[0]?.chains[0]?.rules ?? [];

const ruleFrom = (expr: unknown[], ...otherEntries: object[]): Rule => {
  const [rule] = rulesFrom(expr, ...otherEntries);
  assert.ok(rule);
  return rule;
};

const accepted: Pick<Rule, 'action' | 'target'> = { action: 'Allow', target: 'accept' };

describe('an nft condition', () => {
  const cases: [string, unknown, Partial<Rule>][] = [
    ['an address', match(source, '10.0.0.1'), { sourceAddress: '10.0.0.1' }],
    [
      'a network',
      match(payload('ip6', 'daddr'), { prefix: { addr: 'fe80::', len: 10 } }),
      { destinationAddress: 'fe80::/10' },
    ],
    ['a range', match(source, { range: ['10.0.0.1', '10.0.0.9'] }), { sourceAddress: '10.0.0.1-10.0.0.9' }],
    [
      'a set',
      match(source, {
        set: ['10.0.0.1', { prefix: { addr: '10.1.0.0', len: 16 } }, { range: ['10.2.0.1', '10.2.0.5'] }],
      }),
      { sourceAddress: '10.0.0.1,10.1.0.0/16,10.2.0.1-10.2.0.5' },
    ],
    [
      'a set that must not be',
      match(source, { set: ['10.0.0.1', '10.0.0.2'] }, '!='),
      { sourceAddress: '!10.0.0.1,10.0.0.2' },
    ],
    [
      'a mask with a hole',
      match({ '&': [source, '255.0.255.0'] }, '10.0.1.0'),
      { sourceAddress: '10.0.1.0/255.0.255.0' },
    ],
    ['a port', match(port, 22), { destinationPort: '22', protocol: 'tcp' }],
    [
      'ports',
      match(payload('udp', 'sport'), { set: [53, { range: [67, 68] }] }),
      { sourcePort: '53,67-68', protocol: 'udp' },
    ],
    ['ports below a bound', match(port, 1024, '<'), { destinationPort: '0-1023', protocol: 'tcp' }],
    ['ports up to a bound', match(port, 1024, '<='), { destinationPort: '0-1024', protocol: 'tcp' }],
    ['ports above a bound', match(port, 1024, '>'), { destinationPort: '1025-65535', protocol: 'tcp' }],
    ['ports from a bound on', match(port, 1024, '>='), { destinationPort: '1024-65535', protocol: 'tcp' }],
    ['no port at all', match(port, 0, '<'), { destinationPort: '<0', protocol: 'tcp' }],
    ['a port by its name', match(port, 'ssh', '>'), { destinationPort: '>ssh', protocol: 'tcp' }],
    ['a port of any protocol', match(payload('th', 'dport'), 53), { destinationPort: '53' }],
    ['a protocol', match(meta('l4proto'), 'udp'), { protocol: 'udp' }],
    ['a protocol by its number', match(payload('ip', 'protocol'), 58), { protocol: 'ipv6-icmp' }],
    ['a protocol without a name', match(payload('ip6', 'nexthdr'), 200), { protocol: '200' }],
    ['another protocol', match(payload('ip', 'protocol'), { set: ['tcp', 17] }, '!='), { protocol: '!tcp,udp' }],
    ['a named set of protocols', match(meta('l4proto'), '@Mine'), { protocol: '@Mine' }],
    [
      'a type of ICMPv6',
      match(payload('icmpv6', 'type'), 'echo-request'),
      { protocol: 'ipv6-icmp', matches: { 'icmpv6 type': 'echo-request' } },
    ],
    ['an interface', match(meta('iifname'), 'eth*'), { matches: { 'in-interface': 'eth*' } }],
    ['another interface', match(meta('oif'), 'lo', '!='), { matches: { 'out-interface': '!lo' } }],
    [
      'states',
      match(ct('state'), ['established', 'related'], 'in'),
      { matches: { 'ct state': 'established,related' } },
    ],
    [
      'a direction of conntrack',
      match(ct('ip saddr', 'original'), '10.0.0.1'),
      { matches: { 'ct original ip saddr': '10.0.0.1' } },
    ],
    ['a mark', match(meta('mark'), 16), { matches: { mark: '0x10' } }],
    ['some bits of a mark', match({ '&': [ct('mark'), 255] }, 16, '!='), { matches: { 'ct mark': '!0x10/0xff' } }],
    [
      'flags, any of them',
      match(payload('tcp', 'flags'), ['syn', 'ack'], 'in'),
      { protocol: 'tcp', matches: { 'tcp flags': 'syn,ack' } },
    ],
    [
      'flags, none of them',
      match(payload('tcp', 'flags'), 'syn', '!'),
      { protocol: 'tcp', matches: { 'tcp flags': '!syn' } },
    ],
    [
      'flags, exactly these',
      match(payload('tcp', 'flags'), 'syn'),
      { protocol: 'tcp', matches: { 'tcp flags': '== syn' } },
    ],
    [
      'flags of some',
      match({ '&': [payload('tcp', 'flags'), { '|': ['fin', 'syn'] }] }, 'syn'),
      { protocol: 'tcp', matches: { 'tcp flags': 'syn/fin|syn' } },
    ],
    [
      'an option that is there',
      match({ 'tcp option': { name: 'sack-perm' } }, true),
      { protocol: 'tcp', matches: { 'tcp option sack-perm': 'exists' } },
    ],
    ['a header that is not', match({ exthdr: { name: 'frag' } }, false), { matches: { frag: 'missing' } }],
    [
      'a route',
      match({ fib: { result: 'oif', flags: ['saddr', 'iif'] } }, false),
      { matches: { 'fib saddr . iif oif': 'missing' } },
    ],
    ['raw bits', match({ payload: { base: 'nh', offset: 0, len: 8 } }, 69), { matches: { '@nh,0,8': '69' } }],
    [
      'dates',
      match(meta('time'), { range: ['2024-05-01', '2024-06-01'] }),
      { matches: { 'meta time': '2024-05-01 - 2024-06-01' } },
    ],
    [
      'what nothing knows',
      match({ novelty: { key: 'x', mode: 'y', of: source } }, { twice: [1, 2] }),
      { matches: { 'novelty x mode y of ip saddr': 'twice 1,2' } },
    ],
    [
      'a packet within a tunnel',
      match({ payload: { tunnel: 'vxlan', protocol: 'ip', field: 'saddr' } }, '10.0.0.1'),
      { matches: { 'vxlan ip saddr': '10.0.0.1' } },
    ],
    [
      'several at once',
      match(
        { concat: [source, port] },
        { set: [{ concat: ['10.0.0.1', 22] }, { concat: ['10.0.0.2', { range: [80, 90] }] }] },
      ),
      { protocol: 'tcp', matches: { 'ip saddr . tcp dport': '10.0.0.1 . 22,10.0.0.2 . 80-90' } },
    ],
    [
      'a rate',
      { limit: { rate: 10, burst: 5, per: 'minute', inv: true } },
      { matches: { limit: 'over 10/minute burst 5' } },
    ],
    [
      'a rate of bytes',
      { limit: { rate: 10, rate_unit: 'mbytes', burst: 6, burst_unit: 'kbytes', per: 'second' } },
      { matches: { limit: '10 mbytes/second burst 6 kbytes' } },
    ],
    ['a rate with a name', { limit: 'slow' }, { matches: { limit: 'name slow' } }],
    [
      'a quota',
      { quota: { val: 10, val_unit: 'mbytes', inv: true, used: 7 } },
      { matches: { quota: 'over 10 mbytes' } },
    ],
    ['a quota with a name', { quota: 'month' }, { matches: { quota: 'name month' } }],
    ['a number of connections', { 'ct count': { val: 10, inv: true } }, { matches: { 'ct count': 'over 10' } }],
    ['a counter', { counter: { packets: 5, bytes: 7 } }, {}],
    [
      'an extension of iptables',
      { xt: { type: 'match', name: 'recent' } },
      { matches: { 'xt match': 'recent' }, partial: true },
    ],
    ['an extension that nft says nothing of', { xt: null }, { matches: { 'xt match': 'unknown' }, partial: true }],
    ['a statement that is none', 5, { matches: { statement: '5' } }],
  ];
  for (const [what, statement, expected] of cases) {
    it(`is written as ${what}`, () => {
      const rule = { ...accepted, matches: {}, jumps: [], partial: false, ...expected };
      assert.deepEqual(ruleFrom([statement, accept]), rule);
    });
  }

  it('is listed with the other matches if the field already has a condition', () => {
    const { sourceAddress, matches } = ruleFrom([
      match(source, '10.0.0.0'),
      match(source, '10.1.0.0', '!='),
      match(source, 'x'),
    ]);
    assert.deepEqual(
      { sourceAddress, matches },
      { sourceAddress: '10.0.0.0', matches: { 'source address': '!10.1.0.0; x' } },
    );
  });
});

describe('an nft statement', () => {
  const cases: [string, unknown[], Partial<Rule>][] = [
    ['accept', [accept], accepted],
    ['drop', [drop], { action: 'Deny', target: 'drop' }],
    ['reject', [{ reject: null }], { action: 'Deny', target: 'reject' }],
    ['reject with', [{ reject: { type: 'tcp reset' } }], { action: 'Deny', target: 'reject with tcp reset' }],
    [
      'reject with icmp',
      [{ reject: { type: 'icmp', expr: 'host-unreachable' } }],
      { action: 'Deny', target: 'reject with icmp host-unreachable' },
    ],
    ['continue', [{ continue: null }], { action: 'Other', target: 'continue' }],
    ['return', [{ return: null }], { action: 'Other', target: 'return' }],
    ['jump', [jump('lan')], { action: 'Other', target: 'jump lan', jumps: ['lan'] }],
    ['goto', [{ goto: { target: 'lan' } }], { action: 'Other', target: 'goto lan', jumps: ['lan'] }],
    ['queue', [{ queue: null }], { action: 'Other', target: 'queue' }],
    [
      'queue to',
      [{ queue: { num: { range: [0, 3] }, flags: ['bypass', 'fanout'] } }],
      { action: 'Other', target: 'queue num 0-3 flags bypass,fanout' },
    ],
    [
      'dnat',
      [{ dnat: { family: 'ip6', addr: '2001:db8::1', port: 8080 } }],
      { action: 'Other', target: 'dnat ip6 to [2001:db8::1]:8080' },
    ],
    [
      'snat',
      [{ snat: { addr: { range: ['192.0.2.1', '192.0.2.9'] } } }],
      { action: 'Other', target: 'snat to 192.0.2.1-192.0.2.9' },
    ],
    [
      'masquerade',
      [{ masquerade: { port: { range: [1024, 65535] }, flags: 'random' } }],
      { action: 'Other', target: 'masquerade to :1024-65535 random' },
    ],
    ['redirect', [{ redirect: null }], { action: 'Other', target: 'redirect' }],
    ['fwd', [{ fwd: { dev: 'eth1' } }], { action: 'Other', target: 'fwd dev eth1' }],
    [
      'an iptables target',
      [{ xt: { type: 'target', name: 'REJECT' } }],
      { action: 'Deny', target: 'REJECT', partial: true },
    ],
    [
      'another iptables target',
      [{ xt: { type: 'target', name: 'LOG' } }],
      { action: 'Other', target: 'LOG', partial: true },
    ],
    [
      'a watcher of ebtables',
      [{ xt: { type: 'watcher', name: 'log' } }, drop],
      { action: 'Deny', target: 'drop', matches: { 'xt watcher': 'log' }, partial: true },
    ],
    ['nothing', [], { action: 'Other', target: 'continue' }],
    [
      'log',
      [{ log: { prefix: 'a "b": ', group: 5 } }],
      { action: 'Other', target: 'log prefix "a \\"b\\": " group 5' },
    ],
    ['log and drop', [{ log: null }, drop], { action: 'Deny', target: 'drop', matches: { log: 'yes' } }],
    [
      'a mark',
      [{ mangle: { key: meta('mark'), value: { '|': [{ '&': [meta('mark'), 255] }, 3] } } }],
      { action: 'Other', target: 'set meta mark = (meta mark & 0xff)|0x3' },
    ],
    ['two things', [{ notrack: null }, { counter: 'ssh' }], { action: 'Other', target: 'notrack; counter ssh' }],
    [
      'a transparent proxy',
      [{ tproxy: { addr: '127.0.0.1', port: 3128 } }, accept],
      { ...accepted, matches: { tproxy: 'to 127.0.0.1:3128' } },
    ],
    ['what nothing knows', [{ novelty: { of: 'it' } }, accept], { ...accepted, matches: { novelty: 'of it' } }],
    [
      'remember it',
      [
        {
          set: {
            op: 'update',
            elem: { elem: { val: source, timeout: 600 } },
            set: '@banned',
            stmt: [{ limit: { rate: 10, per: 'second' } }, { counter: null }],
          },
        },
      ],
      { action: 'Other', target: 'update @banned { ip saddr timeout 600s limit 10/second counter }' },
    ],
    ['more than one can be', [accept, drop], { ...accepted, matches: { afterwards: 'drop' } }],
  ];
  for (const [what, expr, expected] of cases) {
    it(`is written as ${what}`, () => {
      assert.deepEqual(ruleFrom(expr), { matches: {}, jumps: [], partial: false, ...expected });
    });
  }
});

describe('an nft verdict map', () => {
  const lookUp = (...pairs: [unknown, unknown][]) => ({ vmap: { key: port, data: { set: pairs } } });

  it('becomes one rule for each verdict, with its keys as condition', () => {
    const rules = rulesFrom([lookUp([22, accept], [{ range: [80, 90] }, jump('web')], [23, drop], [443, accept])]);
    assert.deepEqual(
      rules.map(({ action, target, destinationPort, jumps }) => [action, target, destinationPort, jumps]),
      [
        ['Allow', 'accept', '22,443', []],
        ['Other', 'jump web', '80-90', ['web']],
        ['Deny', 'drop', '23', []],
      ],
    );
  });

  it("adds the rule's other statements to each of its rules", () => {
    const rules = rulesFrom([match(meta('iifname'), 'eth0'), { log: null }, lookUp([22, accept], [80, drop])]);
    for (const { matches, protocol } of rules)
      assert.deepEqual([matches, protocol], [{ 'in-interface': 'eth0', log: 'yes' }, 'tcp']);
    assert.equal(rules.length, 2);
  });

  it('becomes a rule without a verdict if it has no keys', () => {
    for (const map of [lookUp(), lookUp(['*', drop])]) assert.equal(ruleFrom([map]).action, 'Other');
  });

  it('becomes an additional rule for a wildcard key', () => {
    const rules = rulesFrom([lookUp([22, accept], [23, accept], ['*', drop])]);
    assert.deepEqual(
      rules.map(({ action, destinationPort, protocol }) => [action, destinationPort, protocol]),
      [
        ['Allow', '22,23', 'tcp'],
        ['Deny', '!22,23', 'tcp'],
      ],
    );
  });

  it('is only described if it has a name, since its verdicts can change', () => {
    const elements = [
      ['lo', accept],
      ['eth0', jump('lan')],
    ];
    const { action, target, matches, jumps } = ruleFrom(
      [{ vmap: { key: meta('iifname'), data: '@ways' } }],
      map('ways', elements),
    );
    assert.deepEqual([action, target, jumps], ['Other', 'vmap @ways', ['lan']]);
    assert.deepEqual(matches, { 'in-interface': '@ways', sets: '@ways lo : accept,eth0 : jump lan' });
  });

  it('may lead anywhere if its contents were omitted', () => {
    const text = listing([[{ vmap: { key: meta('iifname'), data: '@ways' } }]], map('ways'));
    assert.equal(parseNftables(text, { terse: true })[0]?.chains[0]?.rules[0]?.jumps, 'any');
    assert.deepEqual(parseNftables(text)[0]?.chains[0]?.rules[0]?.jumps, []);
  });
});

describe('a named nft set', () => {
  const lookUp = match(source, '@trusted', '!=');

  it('is written with its name, and with its contents if it is small', () => {
    const elements = [
      { prefix: { addr: '10.0.0.0', len: 8 } },
      { elem: { val: '192.0.2.1', timeout: 60, expires: 59 } },
    ];
    const { sourceAddress, matches } = ruleFrom([lookUp], set('trusted', elements));
    assert.deepEqual([sourceAddress, matches], ['!@trusted', { sets: '@trusted 10.0.0.0/8,192.0.2.1' }]);
  });

  it('is written with its size if it is large', () => {
    assert.deepEqual(ruleFrom([lookUp], set('trusted', Array(17).fill('10.0.0.1'))).matches, {
      sets: '@trusted 17 elements',
    });
  });

  it('is found even if it is listed after the rule or missing', () => {
    const { nftables } = JSON.parse(listing([[lookUp]]));
    const [table] = parseNftables(JSON.stringify({ nftables: [...nftables, set('trusted', ['10.0.0.1'])] }));
    assert.deepEqual(table?.chains[0]?.rules[0]?.matches, { sets: '@trusted 10.0.0.1' });
    assert.deepEqual(ruleFrom([lookUp]).matches, {});
  });
});

describe('parseNftables', () => {
  it('returns the chains with hook, policy and device', () => {
    const chain = {
      family: 'netdev',
      table: 'early',
      name: 'in',
      type: 'filter',
      hook: 'ingress',
      prio: -5,
      dev: ['eth0', 'eth1'],
    };
    assert.deepEqual(parseNftables(JSON.stringify({ nftables: [{ chain }] })), [
      {
        origin: 'nftables',
        family: 'netdev',
        name: 'early',
        dormant: false,
        chains: [
          {
            name: 'in',
            base: {
              hook: 'ingress',
              policy: 'accept',
              facts: { hook: 'ingress', 'chain type': 'filter', 'hook priority': '-5', device: 'eth0,eth1' },
            },
            rules: [],
          },
        ],
      },
    ]);
  });

  it('detects dormant tables by one flag or one of several', () => {
    const dormant = (flags: unknown) =>
      parseNftables(JSON.stringify({ nftables: [{ table: { family: 'ip', name: 'x', flags } }] }))[0]?.dormant;
    assert.deepEqual(['dormant', ['persist', 'dormant'], 'owner', undefined].map(dormant), [true, true, false, false]);
  });

  it('keeps comments', () => {
    const rule = { family: 'ip', table: 'x', chain: 'y', comment: 'it\'s "fine"', expr: [accept] };
    const [table] = parseNftables(JSON.stringify({ nftables: [{ rule }] }));
    assert.deepEqual(table?.chains[0]?.rules[0]?.matches, { comment: 'it\'s "fine"' });
  });

  it('accepts names that JavaScript objects inherit', () => {
    const name = '__proto__';
    const text = `{"nftables":[{"set":{"family":"${name}","table":"${name}","name":"${name}","elem":["x"]}},
      {"rule":{"family":"${name}","table":"${name}","chain":"constructor","expr":[
        {"match":{"op":"==","left":{"__proto__":{"key":"toString"}},"right":"@__proto__"}},{"constructor":null}]}}]}`;
    const [rule] = parseNftables(text).flatMap(rulesOf);
    assert.deepEqual([rule?.table, rule?.chain, rule?.target], [name, 'constructor', 'constructor']);
    assert.deepEqual(Object.entries(rule?.matches ?? {}), [
      ['__proto__ toString', '@__proto__'],
      ['sets', '@__proto__ x'],
    ]);
  });

  for (const text of ['', '{}', 'null', '[]', '{"nftables":{}}', 'table inet filter {', '{"nftables":[']) {
    it(`rejects "${text}"`, () => assert.throws(() => parseNftables(text), SyntaxError));
  }

  it('keeps other rules short when one is long', () => {
    const addresses = Array.from({ length: 5_000 }, (_, index) => `10.0.${index >> 8}.${index & 255}`);
    const { sourceAddress = '', matches } = ruleFrom([
      match(source, { set: addresses }),
      ...addresses.map((address) => match(meta(address), 1)),
      match(meta('x'.repeat(200)), 1),
    ]);
    assert.match(sourceAddress, /^10\.0\.0\.0,.*,… \d+ more$/);
    assert.ok(sourceAddress.length < 4_100);
    assert.ok(JSON.stringify(matches).length < 6_000);
  });

  it('stops at expressions that are nested too deeply', () => {
    const deep = (levels: number): unknown => (levels === 0 ? 'x' : { '|': ['y', deep(levels - 1)] });
    assert.match(ruleFrom([match(meta('mark'), deep(1_000))]).matches.mark ?? '', /…/);
    const brackets = `${'['.repeat(50_000)}1${']'.repeat(50_000)}`;
    const text = listing(
      [
        [
          match(source, '@deep'),
          { log: { prefix: 'DEEP', group: 'DEEP' } },
          { set: { elem: 'DEEP', stmt: 'DEEP' } },
          { vmap: { key: 'DEEP', data: { set: 'DEEP' } } },
          { DEEP: 'DEEP' },
        ],
      ],
      set('deep', 'DEEP'),
    );
    assert.equal(parseNftables(text.replaceAll(/"DEEP"(?!:)/g, brackets)).flatMap(rulesOf).length, 2);
  });
});

/** Names and numbers within an expression, except those of a packet field. */
function* leaves(of: unknown): Generator<string> {
  if (typeof of === 'string' || typeof of === 'number') yield String(of);
  if (typeof of !== 'object' || of === null) return;
  for (const [name, value] of Object.entries(of)) {
    if (!['op', 'left', 'key', 'counter', 'payload'].includes(name)) yield* leaves(value);
  }
}

describe('on nft output of a real kernel', () => {
  const text = golden('nft.json');
  const { nftables } = JSON.parse(text) as { nftables: { rule?: { expr: unknown[]; table: string; chain: string } }[] };
  const listed = nftables.flatMap(({ rule }) => rule ?? []);
  const tables = parseNftables(text);

  /** The rows of one rule in the listing. */
  const rowsOf = (rule: object): readonly Rule[] => {
    const otherEntries = nftables.filter((each) => each.rule === undefined);
    return parseNftables(JSON.stringify({ nftables: [...otherEntries, { rule }] }))
      .flatMap(({ chains }) => chains)
      .flatMap(({ rules }) => rules);
  };

  it('parses everything', async () => {
    assert.deepEqual(
      tables.flatMap(({ chains }) => chains).flatMap(({ rules }) => rules).length,
      listed.flatMap(rowsOf).length,
    );
    assert.ok(listed.every((rule) => rowsOf(rule).length > 0));
    await assertWellFormed(tables, text);
  });

  it('loses no name and no number, except that `*` is written as "all other"', () => {
    for (const rule of listed) {
      const text = JSON.stringify(rowsOf(rule));
      for (const leaf of leaves(rule.expr)) {
        const spellings = [leaf, leaf.replace('*', '"!'), `0x${Number(leaf).toString(16)}`, String(Number(leaf) + 1)];
        assert.ok(
          spellings.some((spelling) => text.includes(spelling)),
          `${leaf} of ${JSON.stringify(rule.expr)}: ${text}`,
        );
      }
    }
  });

  it('returns directions and disabled rules', () => {
    const rules = tables.flatMap(rulesOf);
    const about = (chain: string) => {
      const { enabled, direction } = rules.find((rule) => rule.chain === chain) ?? {};
      return [enabled, direction];
    };
    assert.deepEqual(about('lan'), [true, 'In']);
    assert.deepEqual(about('shared'), [true, undefined]);
    assert.deepEqual(about('unused'), [false, undefined]);
    assert.deepEqual(about('output'), [true, 'Out']);
    assert.ok(rules.filter(({ table }) => table === 'asleep').every(({ enabled }) => !enabled));
  });

  describe('and on similar input', () => {
    const objects = nftables as object[];
    /** A value of the listing with something else in its place, or without it. */
    const mutate = (of: unknown, choose: () => number): unknown => {
      if (typeof of !== 'object' || of === null || choose() % 3 === 0)
        return REPLACEMENTS[choose() % REPLACEMENTS.length];
      const names = Object.keys(of);
      const name = names[choose() % Math.max(1, names.length)];
      if (name === undefined) return of;
      const copy = (Array.isArray(of) ? [...of] : { ...of }) as Record<string, unknown>;
      if (choose() % 6 === 0) delete copy[name];
      else copy[name] = mutate(copy[name], choose);
      return copy;
    };
    const REPLACEMENTS: unknown[] = [
      null,
      true,
      0,
      -1,
      1e300,
      '',
      '@',
      '@trusted',
      '@dispatch',
      '*',
      '__proto__',
      '\ud800',
      'x'.repeat(5_000),
      [],
      {},
      [[]],
      [null, null],
      { set: [] },
      { '&': [1] },
      { '&': [] },
      { concat: 5 },
      { jump: null },
      { jump: { target: 'input' } },
      { elem: { val: { elem: null } } },
      { payload: null },
      { vmap: { key: null, data: '@dispatch' } },
      { range: [] },
    ];

    it('never throws, and returns well-formed rows', async () => {
      const arbitrary = fc.tuple(
        fc.array(fc.nat({ max: objects.length - 1 }), { maxLength: 12 }),
        fc.array(fc.nat(), { minLength: 1, maxLength: 40 }),
        fc.boolean(),
      );
      await fc.assert(
        fc.asyncProperty(arbitrary, async ([picks, choices, terse]) => {
          let at = 0;
          const choose = () => choices[at++ % choices.length] ?? 0;
          const some = picks.map((pick) => mutate(objects[pick], choose));
          const input = JSON.stringify({ nftables: [...objects.slice(1, 16), ...some] });
          await assertWellFormed(parseNftables(input, { terse }), input);
        }),
        { numRuns: fuzzRuns(70_000) },
      );
    });

    it('accepts any JSON', async () => {
      const statement = fc.dictionary(
        fc.constantFrom('match', 'vmap', 'set', 'log', 'limit', 'dnat', 'xt', 'mangle', 'x'),
        fc.jsonValue({ maxDepth: 4 }),
        { maxKeys: 2 },
      );
      const rule = fc.record({
        family: fc.string(),
        table: fc.jsonValue(),
        chain: fc.string(),
        expr: fc.oneof(fc.array(statement), fc.jsonValue()),
      });
      const object = fc.oneof(
        fc.record({ rule }),
        fc.record({ chain: fc.jsonValue() }),
        fc.record({ map: fc.jsonValue() }),
        fc.jsonValue(),
      );
      await fc.assert(
        fc.asyncProperty(fc.array(object), async (some) => {
          const input = JSON.stringify({ nftables: some });
          await assertWellFormed(parseNftables(input), input);
        }),
        { numRuns: fuzzRuns(30_000) },
      );
    });

    it('rejects truncated JSON and other text', () => {
      fc.assert(
        fc.property(
          fc.oneof(
            fc.nat({ max: text.trimEnd().length - 1 }).map((length) => text.slice(0, length)),
            fc.string(),
          ),
          (input) => {
            assert.throws(() => parseNftables(input), SyntaxError);
          },
        ),
        { numRuns: fuzzRuns(2_000) },
      );
    });
  });
});
