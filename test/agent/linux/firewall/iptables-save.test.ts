import assert from 'node:assert/strict';
import fc from 'fast-check';
import { parseIptablesSave, tokenLines } from '../../../../src/agent/linux/firewall/iptables-save.ts';
import { type Rule, rulesOf } from '../../../../src/agent/linux/firewall/ruleset.ts';
import { fuzzRuns } from '../../../fuzz.ts';
import { assertWellFormed, golden } from './well-formed.ts';

const legacy = { origin: 'iptables', family: 'ip' } as const;

/** A rule of the chain INPUT, where there is another one called WEB. */
function ruleFrom(says: string): Rule {
  const [table] = parseIptablesSave(`*filter\n:INPUT ACCEPT [0:0]\n:WEB - [0:0]\n-A INPUT ${says}\nCOMMIT\n`, legacy);
  const rule = table?.chains[0]?.rules[0];
  assert.ok(rule);
  return rule;
}

describe('an iptables condition', () => {
  const cases: [string, Partial<Rule>][] = [
    ['-s 10.0.0.0/8 ! -d 192.0.2.1/32', { sourceAddress: '10.0.0.0/8', destinationAddress: '!192.0.2.1' }],
    ['-s 10.0.1.0/255.0.255.0', { sourceAddress: '10.0.1.0/255.0.255.0' }],
    ['-s 2001:db8::1/128 -d fe80::/10', { sourceAddress: '2001:db8::1', destinationAddress: 'fe80::/10' }],
    ['-i eth+ ! -o lo', { matches: { 'in-interface': 'eth+', 'out-interface': '!lo' } }],
    ['-p tcp', { protocol: 'tcp' }],
    ['! -p 58', { protocol: '!ipv6-icmp' }],
    ['-p 200', { protocol: '200' }],
    [
      '-p tcp -m tcp --sport 1024:65535 ! --dport 22',
      { protocol: 'tcp', sourcePort: '1024-65535', destinationPort: '!22' },
    ],
    ['-p udp -m multiport ! --dports 53,67:68', { protocol: 'udp', destinationPort: '!53,67-68' }],
    ['-p tcp -m multiport --ports 80', { protocol: 'tcp', matches: { 'source or destination port': '80' } }],
    [
      '-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN --tcp-option 5',
      { protocol: 'tcp', matches: { 'tcp flags': 'syn/fin|syn|rst|ack', 'tcp option': '5' } },
    ],
    ['-p icmp -m icmp ! --icmp-type 3/1', { protocol: 'icmp', matches: { 'icmp type': '!3/1' } }],
    ['-p ipv6-icmp -m icmp6 --icmpv6-type 135', { protocol: 'ipv6-icmp', matches: { 'icmpv6 type': '135' } }],
    ['-p esp -m esp --espspi 5', { protocol: 'esp', matches: { esp: 'espspi 5' } }],
    [
      '-m iprange --src-range 10.0.0.1-10.0.0.9 ! --dst-range 10.1.0.1-10.1.0.9',
      { sourceAddress: '10.0.0.1-10.0.0.9', destinationAddress: '!10.1.0.1-10.1.0.9' },
    ],
    [
      '-s 10.0.0.0/8 -m iprange --src-range 10.0.0.1-10.0.0.9',
      { sourceAddress: '10.0.0.0/8', matches: { 'source address': '10.0.0.1-10.0.0.9' } },
    ],
    ['-m set ! --match-set banned src,dst', { matches: { set: '!@banned src,dst' } }],
    ['-m set --match-set banned src --return-nomatch', { matches: { set: '@banned src; return-nomatch' } }],
    [
      '-m conntrack ! --ctstate NEW,RELATED --ctproto 6',
      { matches: { 'ct state': '!new,related', conntrack: 'ctproto 6' } },
    ],
    ['-m state --state NEW', { matches: { 'ct state': 'new' } }],
    ['-m mark ! --mark 0x1/0xff', { matches: { mark: '!0x1/0xff' } }],
    ['-m connmark --mark 0x5', { matches: { 'ct mark': '0x5' } }],
    ['-m limit --limit 3/min --limit-burst 10', { matches: { limit: '3/min; burst 10' } }],
    [
      '-m recent --rcheck --seconds 60 --name bad --rsource',
      { matches: { recent: 'rcheck; seconds 60; name bad; rsource' } },
    ],
    ['-m owner ! --uid-owner 0 -m owner --gid-owner 5', { matches: { owner: '!uid-owner 0; gid-owner 5' } }],
    ['-m string --string "a \\"b\\" c" --algo bm', { matches: { string: '"a \\"b\\" c"; algo bm' } }],
    ['-m socket -m eui64', { matches: { socket: 'yes', eui64: 'yes' } }],
    [
      '-p sctp -m sctp --dport 5 -m sctp --chunk-types any DATA',
      { protocol: 'sctp', destinationPort: '5', matches: { sctp: 'chunk-types any DATA' } },
    ],
    ['-f', { matches: { fragment: 'second and further' } }],
    ['! -f', { matches: { fragment: '!second and further' } }],
    ['-m comment --comment "it\\\'s a \\"test\\" \\\\ é"', { matches: { comment: 'it\'s a "test" \\ é' } }],
    ['-m comment --comment "-j DROP"', { matches: { comment: '-j DROP' } }],
    ['-m comment --comment -j', { matches: { comment: '-j' } }],
    ['-m comment --comment ""', { matches: { comment: '' } }],
    ['-m comment --comment "a\n-A INPUT -j DROP"', { matches: { comment: 'a\n-A INPUT -j DROP' } }],
    ['--novelty "x y" z', { matches: { option: 'novelty "x y" z' } }],
    ['', {}],
  ];
  for (const [says, expected] of cases) {
    it(JSON.stringify(says), () => {
      const rule = { action: 'Allow', target: 'ACCEPT', matches: {}, jumps: [], partial: false, ...expected };
      assert.deepEqual(ruleFrom(`${says} -j ACCEPT`), rule);
    });
  }
});

describe('an iptables target', () => {
  const cases: [string, Partial<Rule>][] = [
    ['-j ACCEPT', { action: 'Allow', target: 'ACCEPT' }],
    ['-j DROP', { action: 'Deny', target: 'DROP' }],
    ['-j REJECT --reject-with tcp-reset', { action: 'Deny', target: 'REJECT --reject-with tcp-reset' }],
    ['-j RETURN', { action: 'Other', target: 'RETURN' }],
    ['-j WEB', { action: 'Other', target: 'jump WEB', jumps: ['WEB'] }],
    ['-g WEB', { action: 'Other', target: 'goto WEB', jumps: ['WEB'] }],
    [
      '-j LOG --log-prefix "in: x" --log-level 4',
      { action: 'Other', target: 'LOG --log-prefix "in: x" --log-level 4' },
    ],
    ['-j DNAT --to-destination 10.0.0.1:8080', { action: 'Other', target: 'DNAT --to-destination 10.0.0.1:8080' }],
    ['-j', { action: 'Other', target: '' }],
    ['', { action: 'Other', target: 'continue' }],
  ];
  for (const [says, expected] of cases) {
    it(JSON.stringify(says), () => {
      assert.deepEqual(ruleFrom(says), { matches: {}, jumps: [], partial: false, ...expected });
    });
  }
});

describe('tokenLines', () => {
  const lines = (text: string) => [...tokenLines(text)].map((line) => line.map((token) => token.text).join('|'));

  it('skips comments and empty lines', () => assert.deepEqual(lines('# "\n\n *x\ty\r\n#'), ['*x|y']));
  it('keeps a line break within quotes', () => assert.deepEqual(lines('a "b\n-A c" d\ne'), ['a|b\n-A c|d', 'e']));
  it('ends an unterminated quote with its line', () => {
    assert.deepEqual(lines('a "b c\n-A d\n-A e'), ['a|b c', '-A|d', '-A|e']);
  });
});

describe('parseIptablesSave', () => {
  it('returns the chains of each table in order, with policies and counters', () => {
    const text =
      '*nat\n:POSTROUTING ACCEPT [5:300]\n:MINE - [0:0]\n[3:180] -A POSTROUTING -j MINE\nCOMMIT\n*raw\nCOMMIT\n';
    const [nat, raw] = parseIptablesSave(text, { origin: 'nftables', family: 'ip6' });
    assert.deepEqual(
      [nat?.origin, nat?.family, nat?.name, raw?.name, raw?.chains],
      ['nftables', 'ip6', 'nat', 'raw', []],
    );
    assert.deepEqual(
      nat?.chains.map(({ name, base, rules }) => [name, base?.hook, base?.policy, rules.length]),
      [
        ['POSTROUTING', 'postrouting', 'accept', 1],
        ['MINE', undefined, undefined, 0],
      ],
    );
  });

  it('returns no tables for empty input', () => {
    for (const text of ['', '\n', '# Warning\n', 'COMMIT\n', '-A INPUT -j ACCEPT\n']) {
      assert.deepEqual(parseIptablesSave(text, legacy), [], text);
    }
  });

  it('skips unknown lines', () => {
    const [table] = parseIptablesSave('*filter\n:INPUT DROP\n-N X\n-A\n[0:0]\n-A INPUT\n', legacy);
    assert.deepEqual(
      table?.chains.map(({ name, rules }) => [name, rules.length]),
      [['INPUT', 1]],
    );
  });

  it('takes linear time for any number of unterminated quotes', () => {
    const hostile = `*filter\n"${'\\"\n'.repeat(200_000)}`;
    assert.equal([...tokenLines(hostile)].length > 1, true);
    parseIptablesSave(`*filter\n-A X ${'! --a '.repeat(100_000)}\n-A X ${'-m a '.repeat(100_000)}`, legacy);
  });
});

/** What a word of iptables-save may look like in a rule. */
const spellings = (word: string) => [
  word,
  JSON.stringify(word).slice(1, -1),
  word.replace(/\/32$|\/128$/, ''),
  word.toLowerCase(),
  word.replaceAll(':', '-'),
  word.toLowerCase().replaceAll(',', '|'),
];

for (const name of ['iptables-legacy-save', 'iptables-nft-save', 'ip6tables-legacy-save', 'ip6tables-nft-save']) {
  describe(`on the output of ${name} on a real kernel`, () => {
    const text = golden(`${name}.txt`);
    const family = name.startsWith('ip6') ? 'ip6' : 'ip';
    const tables = parseIptablesSave(text, { origin: 'iptables', family });
    const rules = tables.flatMap(({ chains }) => chains.flatMap((chain) => chain.rules));
    const lines = [...tokenLines(text)].filter(([first]) => first?.text === '-A');

    it('parses everything', async () => {
      assert.equal(rules.length, lines.length);
      await assertWellFormed(tables, text);
    });

    it('loses no value', () => {
      for (const [index, [, , ...words]] of lines.entries()) {
        // Modules and protocols have names of their own here.
        const values = words.filter(
          ({ text: word }, at) => !/^-|^!$/.test(word) && !['-m', '-p'].includes(words[at - 1]?.text ?? ''),
        );
        const text = JSON.stringify(rules[index]);
        for (const { text: word } of values) {
          const found = spellings(word).some((spelling) => text.includes(JSON.stringify(spelling).slice(1, -1)));
          assert.ok(found, `${word} of ${words.map((token) => token.text).join(' ')}: ${text}`);
        }
      }
    });
  });
}

it('lists the chains of iptables-save for incoming packets, and the unreachable ones', () => {
  const tables = parseIptablesSave(golden('iptables-legacy-save.txt'), legacy);
  const about = new Map(
    tables.flatMap(rulesOf).map(({ table, chain, enabled, direction }) => [`${table} ${chain}`, [enabled, direction]]),
  );
  assert.deepEqual(about.get('filter INPUT'), [true, 'In']);
  assert.deepEqual(about.get('filter WEB'), [true, 'In']);
  assert.deepEqual(about.get('filter OUTPUT'), [true, 'Out']);
  assert.deepEqual(about.get('filter FORWARD'), [true, undefined]);
  assert.deepEqual(about.get('filter UNUSED'), [false, undefined]);
});

describe('on input similar to iptables-save output', () => {
  const pieces = ['iptables-legacy-save', 'iptables-nft-save', 'ip6tables-legacy-save'].map((name) =>
    golden(`${name}.txt`),
  );
  const words = [...new Set(pieces.flatMap((piece) => piece.split(/(?<=\s)/)))];

  it('never throws, and returns well-formed rows', async () => {
    const cut = fc
      .tuple(
        fc.constantFrom(...pieces),
        fc.nat({ max: 4_500 }),
        fc.nat({ max: 800 }),
        fc.nat({ max: 800 }),
        fc.string(),
      )
      .map(([text, at, length, removed, added]) => {
        const piece = text.slice(at, at + length);
        return `*filter\n:INPUT DROP [0:0]\n${piece.slice(0, removed)}${added}${piece.slice(removed + (added.length % 7))}`;
      });
    const shuffled = fc
      .array(fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...words) }, { weight: 1, arbitrary: fc.string() }), {
        maxLength: 60,
      })
      .map((some) => `*filter\n-A INPUT ${some.join('')}`);
    const other = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 300 }),
      fc
        .array(fc.constantFrom('"', '\\', '\n', '-A ', '!', '*', ':', '#', ' ', '[0:0] ', '-j ', '-m ', 'x'))
        .map((some) => some.join('')),
    );
    await fc.assert(
      fc.asyncProperty(fc.oneof(cut, shuffled, other), async (text) => {
        await assertWellFormed(parseIptablesSave(text, legacy), text);
      }),
      { numRuns: fuzzRuns(100_000) },
    );
  });
});
