import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { type FirewallPosture, firewallPostureOf } from '../../../src/agent/posture/facts.ts';
import { iptablesRows, nftRows, type ruleRows } from './rows.ts';

const posture = (rows: Awaited<ReturnType<typeof ruleRows>>, hasIpv6 = false) => firewallPostureOf(rows, { hasIpv6 });

/** A filter table of iptables-save: policies of input, forward and output, further chains, rules. */
const filter = (policies: string, rules: readonly string[] = [], chains: readonly string[] = []) => {
  const [input, forward, output] = policies.split(' ');
  return [
    '*filter',
    `:INPUT ${input} [0:0]`,
    `:FORWARD ${forward} [0:0]`,
    `:OUTPUT ${output} [0:0]`,
    ...chains.map((chain) => `:${chain} - [0:0]`),
    ...rules.map((rule) => `-A ${rule}`),
    'COMMIT',
  ].join('\n');
};

const OPEN = 'ACCEPT ACCEPT ACCEPT';
const CLOSED = 'DROP DROP ACCEPT';

describe('firewallPosture', () => {
  describe('decides for a direction by rules for every packet, or else by the policy:', () => {
    const INBOUND: Readonly<Record<string, [rules: readonly string[], is: string, chains?: readonly string[]]>> = {
      'a rule that drops all comes last': [['INPUT -p tcp -m tcp --dport 22 -j ACCEPT', 'INPUT -j DROP'], 'deny'],
      'a rule that rejects all comes last': [['INPUT -j REJECT --reject-with icmp-port-unreachable'], 'deny'],
      'the rule that drops all has a comment': [['INPUT -m comment --comment "no more" -j DROP'], 'deny'],
      'the rule that drops all is for IPv4 from anywhere': [['INPUT -s 0.0.0.0/0 -j DROP'], 'deny'],
      'all but loopback is dropped': [['INPUT ! -i lo -j DROP'], 'deny'],
      'new packets are dropped': [['INPUT -m conntrack --ctstate INVALID,NEW -j DROP'], 'deny'],
      'everything but answers is dropped': [['INPUT -m state ! --state RELATED,ESTABLISHED -j DROP'], 'deny'],
      'a chain that everything goes to drops all': [
        ['INPUT -j LOGDROP', 'LOGDROP -j LOG', 'LOGDROP -j DROP'],
        'deny',
        ['LOGDROP'],
      ],
      'a chain behind a chain drops all': [['INPUT -j A', 'A -j B', 'B -j DROP'], 'deny', ['A', 'B']],
      'no packet comes back from a chain': [['INPUT -g A', 'INPUT -j DROP', 'A -p tcp -j DROP'], 'allow', ['A']],
      'only TCP is dropped': [['INPUT -p tcp -j DROP'], 'allow'],
      'only one network is dropped': [['INPUT -s 10.0.0.0/8 -j DROP'], 'allow'],
      'only one interface is dropped': [['INPUT -i eth0 -j DROP'], 'allow'],
      'only broken packets are dropped': [['INPUT -m conntrack --ctstate INVALID -j DROP'], 'allow'],
      'only some packets are dropped': [['INPUT -m limit --limit 5/min -j DROP'], 'allow'],
      'everything is accepted before all is dropped': [['INPUT -j ACCEPT', 'INPUT -j DROP'], 'allow'],
      'everything returns before all is dropped': [['INPUT -j RETURN', 'INPUT -j DROP'], 'allow'],
      'a chain hands everything back before it drops': [['INPUT -j A', 'A -j RETURN', 'A -j DROP'], 'allow', ['A']],
      'all that is for this host is dropped': [['INPUT -m addrtype --dst-type LOCAL -j DROP'], 'deny'],
      'what is for this host returns from a chain that drops all, as ufw’s does': [
        ['INPUT -j A', 'A -m addrtype --dst-type LOCAL -j RETURN', 'A -j DROP'],
        'allow',
        ['A'],
      ],
      'what a chain has not decided on is dropped in the one before': [
        ['INPUT -j A', 'INPUT -j DROP', 'A -m addrtype --dst-type LOCAL -j RETURN', 'A -j ACCEPT'],
        'deny',
        ['A'],
      ],
      'only multicasts are dropped': [['INPUT -m addrtype --dst-type MULTICAST -j DROP'], 'allow'],
      'another chain drops all': [['FORWARD -j DROP', 'UNUSED -j DROP'], 'allow', ['UNUSED']],
      'a program decides': [['INPUT -j NFQUEUE --queue-num 0'], 'unknown'],
      'chains jump in a circle': [['INPUT -j A', 'A -j B', 'B -j A'], 'allow', ['A', 'B']],
    };
    for (const [what, [rules, is, chains = []]] of Object.entries(INBOUND))
      it(`returns ${is} if the policy is to accept, and ${what}`, async () =>
        assert.equal(posture(await iptablesRows({ ip: filter(OPEN, rules, chains) })).inbound, is));

    it('returns allow if the policy is to drop, but a rule accepts everything', async () => {
      const { inbound, permissiveRules } = posture(await iptablesRows({ ip: filter(CLOSED, ['INPUT -j ACCEPT']) }));
      assert.deepEqual([inbound, permissiveRules], ['allow', 1]);
    });

    it('returns deny for outbound packets if all but loopback is dropped', async () =>
      assert.equal(posture(await iptablesRows({ ip: filter(OPEN, ['OUTPUT ! -o lo -j DROP']) })).outbound, 'deny'));

    const WHOLE: Readonly<Record<string, [save: { ip: string; ip6?: string }, hasIpv6: boolean, is: string]>> = {
      'nothing is configured': [{ ip: '' }, true, 'none none none'],
      'IPv4 is closed, and there is no IPv6': [{ ip: filter(CLOSED) }, false, 'deny deny allow'],
      'IPv4 is closed, and nothing filters IPv6': [{ ip: filter(CLOSED) }, true, 'allow allow allow'],
      'both are closed': [{ ip: filter(CLOSED), ip6: filter(CLOSED) }, true, 'deny deny allow'],
      'IPv4 is closed, and IPv6 accepts': [{ ip: filter(CLOSED), ip6: filter(OPEN) }, true, 'allow allow allow'],
      'all directions are closed': [{ ip: filter('DROP DROP DROP') }, false, 'deny deny deny'],
      'only other tables drop': [
        { ip: `${filter(OPEN)}\n*mangle\n:INPUT DROP [0:0]\n-A INPUT -j DROP\nCOMMIT` },
        false,
        'allow allow allow',
      ],
      'there are only other tables': [
        { ip: '*nat\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT' },
        false,
        'none none none',
      ],
    };
    for (const [what, [save, hasIpv6, is]] of Object.entries(WHOLE))
      it(`returns ${is} if ${what}`, async () => {
        const { inbound, forward, outbound } = posture(await iptablesRows(save), hasIpv6);
        assert.equal([inbound, forward, outbound].join(' '), is);
      });
  });

  describe('with nftables', () => {
    const table = (family: string, ...objects: object[]) => [{ table: { family, name: 'own' } }, ...objects];
    const chain = (name: string, hook?: string, policy = 'accept', family = 'inet', type = 'filter') => ({
      chain: { family, table: 'own', name, ...(hook === undefined ? {} : { type, hook, prio: 0, policy }) },
    });
    const rule = (of: string, expr: object[], family = 'inet') => ({ rule: { family, table: 'own', chain: of, expr } });
    const meta = (key: string, right: unknown, op = '==') => ({ match: { op, left: { meta: { key } }, right } });
    const rows = (...objects: object[]) => nftRows(JSON.stringify({ nftables: objects }));

    const state = { ct: { key: 'state' } };
    const iifname = { meta: { key: 'iifname' } };
    const map = (key: object, ...pairs: [unknown, object][]) => ({ vmap: { key, data: { set: pairs } } });
    const inbound = (policy: string, ...rules: [of: string, ...expr: object[]][]) =>
      table('inet', chain('in', 'input', policy), chain('open'), ...rules.map(([of, ...expr]) => rule(of, expr)));
    const accept = { accept: null };
    const drop = { drop: null };
    const toSet = (op: string, ...stmt: object[]) => ({
      set: { op, set: '@seen', elem: { payload: { protocol: 'ip', field: 'saddr' } }, stmt },
    });

    const CASES: Readonly<Record<string, [objects: object[], is: Partial<FirewallPosture>]>> = {
      'an inet chain is for both families': [
        table('inet', chain('in', 'input', 'drop')),
        { inbound: 'deny', forward: 'none', outbound: 'none', permissiveRules: 0 },
      ],
      'an ip chain is for one': [table('ip', chain('in', 'input', 'drop', 'ip')), { inbound: 'allow' }],
      'the hook counts, and not the name': [
        table('inet', chain('output', 'input', 'drop')),
        { inbound: 'deny', outbound: 'none' },
      ],
      'a dormant table filters nothing': [
        [{ table: { family: 'inet', name: 'own', flags: 'dormant' } }, chain('in', 'input', 'drop')],
        { inbound: 'none' },
      ],
      'a chain of another type does not filter': [
        table('inet', chain('in', 'input', 'drop', 'inet', 'nat')),
        { inbound: 'none' },
      ],
      'the last rule rejects all': [
        table('inet', chain('in', 'input'), rule('in', [{ counter: {} }, { reject: null }])),
        { inbound: 'deny' },
      ],
      'both families are dropped by rules of their own': [
        table(
          'inet',
          chain('in', 'input'),
          rule('in', [meta('nfproto', 'ipv4'), { drop: null }]),
          rule('in', [meta('nfproto', 'ipv6'), { drop: null }]),
        ),
        { inbound: 'deny' },
      ],
      'only IPv4 is dropped': [
        table('inet', chain('in', 'input'), rule('in', [meta('nfproto', 'ipv4'), { drop: null }])),
        { inbound: 'allow' },
      ],
      'all but loopback is dropped': [
        table('inet', chain('in', 'input'), rule('in', [meta('iifname', 'lo', '!='), { drop: null }])),
        { inbound: 'deny' },
      ],
      'one of two chains of a hook drops': [
        table('inet', chain('in', 'input'), chain('late', 'input', 'drop')),
        { inbound: 'deny' },
      ],
      'a chain that is jumped to drops': [
        table(
          'inet',
          chain('in', 'input'),
          chain('end'),
          rule('in', [{ jump: { target: 'end' } }]),
          rule('end', [{ drop: null }]),
        ),
        { inbound: 'deny' },
      ],
      'a table with the name of one of iptables’ filters, too': [
        [
          { table: { family: 'inet', name: 'mangle' } },
          {
            chain: {
              family: 'inet',
              table: 'mangle',
              name: 'in',
              type: 'filter',
              hook: 'input',
              prio: 0,
              policy: 'drop',
            },
          },
        ],
        { inbound: 'deny' },
      ],
      'queued to a program': [
        table('inet', chain('in', 'input', 'drop'), rule('in', [{ queue: { num: 0 } }])),
        { inbound: 'unknown' },
      ],
      'accepts everything that comes in at an interface': [
        table('inet', chain('in', 'input', 'drop'), rule('in', [meta('iifname', 'eth0'), { accept: null }])),
        { inbound: 'deny', permissiveRules: 1 },
      ],
      'a verdict map accepts new packets': [
        inbound('drop', ['in', map(state, ['established', accept], ['new', accept], ['invalid', drop])]),
        { inbound: 'allow', permissiveRules: 1 },
      ],
      'a verdict map accepts answers': [
        inbound('drop', ['in', map(state, ['established', accept], ['invalid', drop])]),
        { inbound: 'deny', permissiveRules: 0 },
      ],
      'a verdict map hands what comes from the network to a chain that accepts': [
        inbound('drop', ['in', map(iifname, ['lo', accept], ['eth0', { jump: { target: 'open' } }])], ['open', accept]),
        { inbound: 'deny', permissiveRules: 1 },
      ],
      'a verdict map drops all but loopback': [
        inbound('accept', ['in', map(iifname, ['lo', accept], ['*', drop])]),
        { inbound: 'deny', permissiveRules: 0 },
      ],
      'what comes from the network returns before all is dropped': [
        inbound('accept', ['in', meta('iifname', 'eth0'), { return: null }], ['in', drop]),
        { inbound: 'deny', permissiveRules: 1 },
      ],
      'what comes from the network is handed to a chain without rules before all is dropped': [
        inbound('accept', ['in', meta('iifname', 'eth0'), { goto: { target: 'open' } }], ['in', drop]),
        { inbound: 'deny', permissiveRules: 1 },
      ],
      'what comes from the network returns, and the policy is to drop': [
        inbound('drop', ['in', meta('iifname', 'eth0'), { return: null }], ['in', drop]),
        { inbound: 'deny', permissiveRules: 0 },
      ],
      'what comes from the network returns to a chain that drops all': [
        inbound(
          'accept',
          ['in', { jump: { target: 'open' } }],
          ['in', drop],
          ['open', meta('iifname', 'eth0'), { return: null }],
          ['open', drop],
        ),
        { inbound: 'deny', permissiveRules: 0 },
      ],
      'what comes from the network returns to a chain that accepts the rest': [
        inbound(
          'accept',
          ['in', { jump: { target: 'open' } }],
          ['open', meta('iifname', 'eth0'), { return: null }],
          ['open', drop],
        ),
        { inbound: 'deny', permissiveRules: 1 },
      ],
      'what returns would be accepted anyway': [
        inbound('accept', ['in', meta('iifname', 'eth0'), { return: null }]),
        { inbound: 'allow', permissiveRules: 0 },
      ],
      'all that is for this host is dropped': [
        inbound('accept', [
          'in',
          { match: { op: '==', left: { fib: { result: 'type', flags: ['daddr'] } }, right: 'local' } },
          drop,
        ]),
        { inbound: 'deny' },
      ],
      'all is marked, and dropped': [
        inbound('accept', ['in', { mangle: { key: { meta: { key: 'mark' } }, value: 1 } }, drop]),
        { inbound: 'deny' },
      ],
      'all is put into a set, and dropped': [inbound('accept', ['in', toSet('add'), drop]), { inbound: 'deny' }],
      'what comes too often is dropped': [
        inbound('accept', ['in', toSet('update', { limit: { rate: 10, per: 'second', inv: true } }), drop]),
        { inbound: 'allow' },
      ],
    };
    for (const [what, [objects, is]] of Object.entries(CASES))
      it(what, async () => {
        const found = posture(await rows(...objects), true);
        assert.deepEqual({ ...found, ...is }, found);
      });

    it('evaluates rules for IPv6 only if it is in use', async () => {
      const ruleset = await rows(
        ...table('inet', chain('in', 'input', 'drop'), rule('in', [meta('nfproto', 'ipv6'), { accept: null }])),
      );
      assert.deepEqual([posture(ruleset, true).permissiveRules, posture(ruleset, false).permissiveRules], [1, 0]);
    });

    it('evaluates a listing with every extension of iptables', async () => {
      const file = new URL('../../../../test/golden/debian13-6.18/firewall-iptables-nft.json', import.meta.url);
      const found = posture(await nftRows(readFileSync(file, 'utf8')), true);
      // Four rules of INPUT have nothing but a comment and accept; one accepts all but TCP. FORWARD is filtered in IPv6 only.
      assert.deepEqual(found, { inbound: 'allow', forward: 'allow', outbound: 'allow', permissiveRules: 5 });
    });
  });

  describe('counts a rule as permissive', () => {
    const INPUT: Readonly<Record<string, readonly string[]>> = {
      'that accepts everything': ['INPUT -j ACCEPT'],
      'that accepts all of TCP': ['INPUT -p tcp -j ACCEPT'],
      'that accepts all of UDP from anywhere': ['INPUT -s 0.0.0.0/0 -p udp -j ACCEPT'],
      'that accepts half of the addresses': ['INPUT -s 128.0.0.0/1 -j ACCEPT'],
      'that accepts all addresses but one': ['INPUT ! -s 192.0.2.1 -j ACCEPT'],
      'that accepts a broad range of ports': ['INPUT -p tcp -m tcp --dport 1024:65535 -j ACCEPT'],
      'that accepts several ranges, broad together': [
        'INPUT -p tcp -m multiport --dports 1000:1599,2000:2599 -j ACCEPT',
      ],
      'that accepts all ports but one': ['INPUT -p tcp -m tcp ! --dport 22 -j ACCEPT'],
      'that only asks for a source port, which the sender chooses': ['INPUT -p udp -m udp --sport 53 -j ACCEPT'],
      'that accepts new connections': ['INPUT -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT'],
      'that accepts what opens a connection': ['INPUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT'],
      'that accepts everything from the network': ['INPUT -i eth0 -j ACCEPT'],
      'that accepts everything from the radio network': ['INPUT -i lowpan0 -j ACCEPT'],
      'that accepts everything but what comes from containers': ['INPUT ! -i docker0 -j ACCEPT'],
      'for one of its own addresses': ['INPUT -d 192.0.2.7 -j ACCEPT'],
      'of a chain that everything goes to': ['INPUT -j A', 'A -j ACCEPT'],
      'of a chain that all of TCP goes to': ['INPUT -p tcp -j A', 'A -p tcp -j ACCEPT'],
      'that accepts forwarded packets': ['FORWARD -j ACCEPT'],
    };
    for (const [what, rules] of Object.entries(INPUT))
      it(what, async () =>
        assert.equal(posture(await iptablesRows({ ip: filter(CLOSED, rules, ['A']) })).permissiveRules, 1),
      );

    it('counts permissive rules for each family', async () => {
      const save = filter(CLOSED, ['INPUT -p tcp -j ACCEPT']);
      assert.equal(posture(await iptablesRows({ ip: save, ip6: save }), true).permissiveRules, 2);
    });

    it('counts IPv6 rules that accept packets from all of the internet', async () => {
      const rows = await iptablesRows({ ip: filter(CLOSED), ip6: filter(CLOSED, ['INPUT -s 2000::/3 -j ACCEPT']) });
      assert.equal(posture(rows, true).permissiveRules, 1);
    });
  });

  describe('counts no rule as permissive', () => {
    const INPUT: Readonly<Record<string, readonly string[]>> = {
      'for one port': ['INPUT -p tcp -m tcp --dport 22 -j ACCEPT'],
      'for a range that is not broad': ['INPUT -p tcp -m tcp --dport 8000:9000 -j ACCEPT'],
      'for several ports': ['INPUT -p tcp -m multiport --dports 22,80,443 -j ACCEPT'],
      'for one network': ['INPUT -s 192.168.0.0/16 -j ACCEPT'],
      'for loopback': ['INPUT -i lo -j ACCEPT'],
      'for containers': ['INPUT -i docker0 -j ACCEPT'],
      'for all interfaces but one, of which others may be virtual': ['INPUT ! -i eth0 -j ACCEPT'],
      'for answers': ['INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT'],
      'for protocols without ports': ['INPUT -p icmp -j ACCEPT', 'INPUT -p esp -j ACCEPT', 'INPUT -p 2 -j ACCEPT'],
      'for multicast': ['INPUT -d 224.0.0.0/4 -j ACCEPT'],
      'for a set of addresses': ['INPUT -m set --match-set friends src -j ACCEPT'],
      'with another condition': ['INPUT -m mac --mac-source 00:11:22:33:44:55 -j ACCEPT'],
      'that denies': ['INPUT -p tcp -j DROP', 'INPUT -j REJECT'],
      'behind a rule that drops all': ['INPUT -j DROP', 'INPUT -j ACCEPT'],
      'behind a rule by which all return': ['INPUT -j A', 'A -j RETURN', 'A -j ACCEPT'],
      'in a chain that only some packets go to': ['INPUT -p tcp -m tcp --dport 80 -j A', 'A -j ACCEPT'],
      'in a chain that no packet goes to': ['A -j ACCEPT'],
      'forwarded from a network': ['FORWARD -i eth1 -j ACCEPT'],
      'between interfaces': ['FORWARD -i eth1 -o eth0 -j ACCEPT'],
      'to outside': ['OUTPUT -j ACCEPT'],
      'for IPv6, which is not in use': [],
    };
    for (const [what, rules] of Object.entries(INPUT))
      it(what, async () => {
        const rows = await iptablesRows({
          ip: filter(CLOSED, rules, ['A']),
          ...(rules.length === 0 ? { ip6: filter(CLOSED, ['INPUT -j ACCEPT']) } : {}),
        });
        assert.equal(posture(rows).permissiveRules, 0);
      });
  });

  it('evaluates each rule of a repeatedly used chain once', async () => {
    const rules = Array.from({ length: 5_000 }, (_, n) => [
      `C${n % 200} -p tcp -j ACCEPT`,
      `INPUT -j C${n % 200}`,
    ]).flat();
    const chains = Array.from({ length: 200 }, (_, n) => `C${n}`);
    const rows = await iptablesRows({ ip: filter(CLOSED, rules, chains) });
    assert.deepEqual(posture(rows), { inbound: 'deny', forward: 'deny', outbound: 'allow', permissiveRules: 5_000 });
  });

  it('evaluates chains of any nesting depth without an error', async () => {
    const chains = Array.from({ length: 5_000 }, (_, n) => `C${n}`);
    const rules = ['INPUT -j C0', ...chains.map((chain, n) => `${chain} -j C${n + 1}`)];
    assert.equal(posture(await iptablesRows({ ip: filter(OPEN, rules, chains) })).inbound, 'allow');
  });
});
