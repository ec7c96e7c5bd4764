import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import type { Payload } from '../../src/core/contract/event.ts';
import type { ListingStatus, SourceStatus } from '../../src/core/contract/sources.ts';
import { require } from '../harness/require.ts';
import { missingForNamespace, NetworkNamespace } from './network-namespace.ts';

/**
 * A rule in its tool's syntax (empty for one more payload element of the rule before), and the expected fields of its payload
 * element. `details` is ExtraDetails without the names of table and chain.
 */
type Row = [rule: string, action: 'Allow' | 'Deny' | 'Other', fields: Payload, details: Record<string, string>];

interface ChainOf {
  readonly family: string;
  readonly table: string;
  readonly chain: string;
  /** The chain's definition in nft's `{ }`; omitted for chains without a hook and for those of iptables. */
  readonly hook?: string;
  readonly direction?: 'In' | 'Out';
  /** Whether the chain is disabled. */
  readonly off?: true;
  readonly rules: readonly Row[];
  /** The element after the rules: its action and `details`. */
  readonly policy?: ['Allow' | 'Deny', Record<string, string>];
}

const ACCEPT = { Target: 'accept' };
const DROP = { Target: 'drop' };

const NFTABLES: readonly ChainOf[] = [
  {
    family: 'inet',
    table: 'guard',
    chain: 'lan',
    direction: 'In',
    rules: [
      ['tcp dport 443 accept', 'Allow', { DestinationPort: '443', Protocol: 'tcp' }, ACCEPT],
      ['ip6 saddr fe80::/10 accept', 'Allow', { SourceAddress: 'fe80::/10' }, ACCEPT],
    ],
  },
  {
    family: 'inet',
    table: 'guard',
    chain: 'shared',
    rules: [['counter return', 'Other', {}, { Target: 'return' }]],
  },
  {
    family: 'inet',
    table: 'guard',
    chain: 'unused',
    off: true,
    rules: [['drop', 'Deny', {}, DROP]],
  },
  {
    family: 'inet',
    table: 'guard',
    chain: 'input',
    hook: 'type filter hook input priority filter; policy drop;',
    direction: 'In',
    rules: [
      ['ct state established,related accept', 'Allow', {}, { ...ACCEPT, CtState: 'established,related' }],
      ['ct state invalid counter drop', 'Deny', {}, { ...DROP, CtState: 'invalid' }],
      ['iif lo accept', 'Allow', {}, { ...ACCEPT, InInterface: 'lo' }],
      ['iifname != "eth*" jump lan', 'Other', {}, { Target: 'jump lan', InInterface: '!eth*' }],
      [
        'ip saddr 10.0.0.0/8 ip daddr 192.0.2.1 tcp sport 1024-65535 tcp dport 22 accept',
        'Allow',
        {
          SourceAddress: '10.0.0.0/8',
          SourcePort: '1024-65535',
          DestinationAddress: '192.0.2.1',
          DestinationPort: '22',
          Protocol: 'tcp',
        },
        ACCEPT,
      ],
      [
        'ip saddr { 10.0.0.1, 10.1.0.0/16, 10.2.0.1-10.2.0.5 } udp dport { 53, 67-68 } accept',
        'Allow',
        { SourceAddress: '10.0.0.1,10.1.0.0/16,10.2.0.1-10.2.0.5', DestinationPort: '53,67-68', Protocol: 'udp' },
        ACCEPT,
      ],
      ['ip saddr != { 10.0.0.1, 10.0.0.2 } drop', 'Deny', { SourceAddress: '!10.0.0.1,10.0.0.2' }, DROP],
      [
        'ip saddr @trusted accept',
        'Allow',
        { SourceAddress: '@trusted' },
        { ...ACCEPT, Sets: '@trusted 192.0.2.7,198.51.100.0/24' },
      ],
      [
        'ip6 saddr 2001:db8::/32 tcp dport != 22 drop',
        'Deny',
        { SourceAddress: '2001:db8::/32', DestinationPort: '!22', Protocol: 'tcp' },
        DROP,
      ],
      ['ip6 daddr ::1 accept', 'Allow', { DestinationAddress: '::1' }, ACCEPT],
      [
        'ip6 nexthdr ipv6-icmp icmpv6 type echo-request accept',
        'Allow',
        { Protocol: 'ipv6-icmp' },
        { ...ACCEPT, Icmpv6Type: 'echo-request' },
      ],
      ['ip saddr & 255.0.255.0 == 10.0.1.0 drop', 'Deny', { SourceAddress: '10.0.1.0/255.0.255.0' }, DROP],
      ['tcp dport > 49151 drop', 'Deny', { DestinationPort: '49152-65535', Protocol: 'tcp' }, DROP],
      ['meta l4proto { tcp, udp } th dport 53 accept', 'Allow', { DestinationPort: '53', Protocol: 'tcp,udp' }, ACCEPT],
      ['meta l4proto 47 accept', 'Allow', { Protocol: 'gre' }, ACCEPT],
      ['meta l4proto 200 accept', 'Allow', { Protocol: '200' }, ACCEPT],
      ['ip protocol != tcp accept', 'Allow', { Protocol: '!tcp' }, ACCEPT],
      [
        'icmp type { echo-request, echo-reply } limit rate 5/second accept',
        'Allow',
        { Protocol: 'icmp' },
        { ...ACCEPT, IcmpType: 'echo-reply,echo-request', Limit: '5/second burst 5' },
      ],
      [
        'tcp flags & (fin|syn|rst|ack) == syn ct count over 20 reject with tcp reset',
        'Deny',
        { Protocol: 'tcp' },
        { Target: 'reject with tcp reset', TcpFlags: 'syn/fin|syn|rst|ack', CtCount: 'over 20' },
      ],
      ['meta mark & 0xff == 0x10 accept', 'Allow', {}, { ...ACCEPT, Mark: '0x10/0xff' }],
      [
        'ip saddr . tcp dport { 10.0.0.1 . 22, 10.0.0.2 . 80-90 } accept',
        'Allow',
        { Protocol: 'tcp' },
        { ...ACCEPT, IpSaddrTcpDport: '10.0.0.1 . 22,10.0.0.2 . 80-90' },
      ],
      [
        'tcp dport vmap { 22 : accept, 80 : jump lan, 23 : drop }',
        'Allow',
        { DestinationPort: '22', Protocol: 'tcp' },
        ACCEPT,
      ],
      ['', 'Deny', { DestinationPort: '23', Protocol: 'tcp' }, DROP],
      ['', 'Other', { DestinationPort: '80', Protocol: 'tcp' }, { Target: 'jump lan' }],
      ['sctp dport 5000 accept', 'Allow', { DestinationPort: '5000', Protocol: 'sctp' }, ACCEPT],
      [
        'ip saddr 10.0.0.0/8 ip saddr != 10.9.0.0/16 accept',
        'Allow',
        { SourceAddress: '10.0.0.0/8' },
        { ...ACCEPT, SourceAddress: '!10.9.0.0/16' },
      ],
      ['fib saddr . iif oif missing drop', 'Deny', {}, { ...DROP, FibSaddrIifOif: 'missing' }],
      ['@nh,0,8 0x45 accept', 'Allow', {}, { ...ACCEPT, Nh0_8: '69' }],
      ['log prefix "in: " flags all', 'Other', {}, { Target: 'log prefix "in: " flags all' }],
      [
        'tcp dport 23 log prefix "telnet" drop comment "no, really"',
        'Deny',
        { DestinationPort: '23', Protocol: 'tcp' },
        { ...DROP, Log: 'prefix "telnet"', Comment: 'no, really' },
      ],
      ['meta mark set 0x5', 'Other', {}, { Target: 'set meta mark = 0x5' }],
      ['goto shared', 'Other', {}, { Target: 'goto shared' }],
    ],
    policy: ['Deny', { Target: 'policy drop', Hook: 'input', ChainType: 'filter', HookPriority: '0' }],
  },
  {
    family: 'inet',
    table: 'guard',
    chain: 'forward',
    hook: 'type filter hook forward priority 10;',
    rules: [
      [
        'iifname "eth0" oifname "eth1" jump shared',
        'Other',
        {},
        { Target: 'jump shared', InInterface: 'eth0', OutInterface: 'eth1' },
      ],
    ],
    policy: ['Allow', { Target: 'policy accept', Hook: 'forward', ChainType: 'filter', HookPriority: '10' }],
  },
  {
    family: 'inet',
    table: 'guard',
    chain: 'output',
    hook: 'type filter hook output priority filter;',
    direction: 'Out',
    rules: [
      [
        'meta skuid 1000 udp dport 123 accept',
        'Allow',
        { DestinationPort: '123', Protocol: 'udp' },
        { ...ACCEPT, MetaSkuid: '1000' },
      ],
    ],
    policy: ['Allow', { Target: 'policy accept', Hook: 'output', ChainType: 'filter', HookPriority: '0' }],
  },
  {
    family: 'ip',
    table: 'translate',
    chain: 'prerouting',
    hook: 'type nat hook prerouting priority dstnat;',
    rules: [
      [
        'tcp dport 80 dnat to 10.0.0.1:8080',
        'Other',
        { DestinationPort: '80', Protocol: 'tcp' },
        { Target: 'dnat to 10.0.0.1:8080' },
      ],
      [
        'tcp dport 3128 redirect to :80',
        'Other',
        { DestinationPort: '3128', Protocol: 'tcp' },
        { Target: 'redirect to :80' },
      ],
    ],
    policy: ['Allow', { Target: 'policy accept', Hook: 'prerouting', ChainType: 'nat', HookPriority: '-100' }],
  },
  {
    family: 'ip6',
    table: 'asleep',
    chain: 'input',
    hook: 'type filter hook input priority filter;',
    direction: 'In',
    off: true,
    rules: [['drop', 'Deny', {}, DROP]],
    policy: ['Allow', { Target: 'policy accept', Hook: 'input', ChainType: 'filter', HookPriority: '0' }],
  },
  {
    family: 'bridge',
    table: 'switch',
    chain: 'input',
    hook: 'type filter hook input priority filter;',
    direction: 'In',
    rules: [['ether saddr 00:11:22:33:44:55 drop', 'Deny', {}, { ...DROP, EtherSaddr: '00:11:22:33:44:55' }]],
    policy: ['Allow', { Target: 'policy accept', Hook: 'input', ChainType: 'filter', HookPriority: '-200' }],
  },
  {
    family: 'netdev',
    table: 'early',
    chain: 'ingress',
    hook: 'type filter hook ingress device "lo" priority 0;',
    rules: [['ip saddr 203.0.113.0/24 drop', 'Deny', { SourceAddress: '203.0.113.0/24' }, DROP]],
    policy: [
      'Allow',
      { Target: 'policy accept', Hook: 'ingress', ChainType: 'filter', HookPriority: '0', Device: 'lo' },
    ],
  },
];

const ACCEPT_IP = { Target: 'ACCEPT' };
const DROP_IP = { Target: 'DROP' };

/** Chains of legacy iptables; the table's other chains are empty, but have policies. */
const LEGACY: readonly ChainOf[] = [
  {
    family: 'ip',
    table: 'filter',
    chain: 'INPUT',
    direction: 'In',
    rules: [
      ['-i lo -j ACCEPT', 'Allow', {}, { ...ACCEPT_IP, InInterface: 'lo' }],
      ['! -i eth+ -j WEB', 'Other', {}, { Target: 'jump WEB', InInterface: '!eth+' }],
      [
        '-s 10.0.0.0/8 ! -d 192.0.2.1 -p tcp --sport 1024: --dport 22 -j ACCEPT',
        'Allow',
        {
          SourceAddress: '10.0.0.0/8',
          SourcePort: '1024-65535',
          DestinationAddress: '!192.0.2.1',
          DestinationPort: '22',
          Protocol: 'tcp',
        },
        ACCEPT_IP,
      ],
      ['-s 10.0.1.0/255.0.255.0 -j DROP', 'Deny', { SourceAddress: '10.0.1.0/255.0.255.0' }, DROP_IP],
      [
        '-p udp -m multiport --dports 53,67:68 -j ACCEPT',
        'Allow',
        { DestinationPort: '53,67-68', Protocol: 'udp' },
        ACCEPT_IP,
      ],
      [
        '-p tcp -m multiport ! --sports 1:1023 -j ACCEPT',
        'Allow',
        { SourcePort: '!1-1023', Protocol: 'tcp' },
        ACCEPT_IP,
      ],
      ['-m iprange --src-range 10.0.0.1-10.0.0.9 -j DROP', 'Deny', { SourceAddress: '10.0.0.1-10.0.0.9' }, DROP_IP],
      [
        '-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
        'Allow',
        {},
        { ...ACCEPT_IP, CtState: 'related,established' },
      ],
      ['-m conntrack ! --ctstate NEW -j DROP', 'Deny', {}, { ...DROP_IP, CtState: '!new' }],
      [
        '-p icmp --icmp-type echo-request -m limit --limit 5/sec -j ACCEPT',
        'Allow',
        { Protocol: 'icmp' },
        { ...ACCEPT_IP, IcmpType: '8', Limit: '5/sec' },
      ],
      [
        '-p tcp --syn -m connlimit --connlimit-above 20 -j REJECT --reject-with tcp-reset',
        'Deny',
        { Protocol: 'tcp' },
        {
          Target: 'REJECT --reject-with tcp-reset',
          TcpFlags: 'syn/fin|syn|rst|ack',
          Connlimit: 'above 20; mask 32; saddr',
        },
      ],
      ['-p 47 -j ACCEPT', 'Allow', { Protocol: 'gre' }, ACCEPT_IP],
      [
        '! -p udp -m mark ! --mark 0x1/0xff -j ACCEPT',
        'Allow',
        { Protocol: '!udp' },
        { ...ACCEPT_IP, Mark: '!0x1/0xff' },
      ],
      [
        '-m recent --name bad --rcheck --seconds 60 -j DROP',
        'Deny',
        {},
        { ...DROP_IP, Recent: 'rcheck; seconds 60; name bad; mask 255.255.255.255; rsource' },
      ],
      [
        '-m comment --comment "it\'s \\"fine\\", -j DROP" -j ACCEPT',
        'Allow',
        {},
        { ...ACCEPT_IP, Comment: 'it\'s "fine", -j DROP' },
      ],
      ['-j LOG --log-prefix "in: x"', 'Other', {}, { Target: 'LOG --log-prefix "in: x"' }],
      ['-g WEB', 'Other', {}, { Target: 'goto WEB' }],
    ],
    policy: ['Deny', { Target: 'policy drop' }],
  },
  {
    family: 'ip',
    table: 'filter',
    chain: 'FORWARD',
    rules: [['-f -j DROP', 'Deny', {}, { ...DROP_IP, Fragment: 'second and further' }]],
    policy: ['Allow', { Target: 'policy accept' }],
  },
  {
    family: 'ip',
    table: 'filter',
    chain: 'OUTPUT',
    direction: 'Out',
    rules: [
      [
        '-m owner --uid-owner 1000 -p udp --dport 123 -j ACCEPT',
        'Allow',
        { DestinationPort: '123', Protocol: 'udp' },
        { ...ACCEPT_IP, Owner: 'uid-owner 1000' },
      ],
    ],
    policy: ['Allow', { Target: 'policy accept' }],
  },
  { family: 'ip', table: 'filter', chain: 'UNUSED', off: true, rules: [['-j DROP', 'Deny', {}, DROP_IP]] },
  {
    family: 'ip',
    table: 'filter',
    chain: 'WEB',
    direction: 'In',
    rules: [['-p tcp --dport 80 -j RETURN', 'Other', { DestinationPort: '80', Protocol: 'tcp' }, { Target: 'RETURN' }]],
  },
  {
    family: 'ip6',
    table: 'filter',
    chain: 'INPUT',
    direction: 'In',
    rules: [
      [
        '-s fe80::/10 -p icmpv6 --icmpv6-type 135 -j ACCEPT',
        'Allow',
        { SourceAddress: 'fe80::/10', Protocol: 'ipv6-icmp' },
        { ...ACCEPT_IP, Icmpv6Type: '135' },
      ],
      [
        '-d 2001:db8::1 -p tcp -m multiport --dports 22,80 -j ACCEPT',
        'Allow',
        { DestinationAddress: '2001:db8::1', DestinationPort: '22,80', Protocol: 'tcp' },
        ACCEPT_IP,
      ],
      ['-m hl --hl-lt 255 -j DROP', 'Deny', {}, { ...DROP_IP, Hl: 'lt 255' }],
      ['-j REJECT', 'Deny', {}, { Target: 'REJECT --reject-with icmp6-port-unreachable' }],
    ],
    policy: ['Allow', { Target: 'policy accept' }],
  },
  { family: 'ip6', table: 'filter', chain: 'FORWARD', rules: [], policy: ['Deny', { Target: 'policy drop' }] },
  {
    family: 'ip6',
    table: 'filter',
    chain: 'OUTPUT',
    direction: 'Out',
    rules: [],
    policy: ['Allow', { Target: 'policy accept' }],
  },
];

/** Rules that iptables-nft stores in nftables: nft shows only the names of some of their matches. */
const THROUGH_NFTABLES: readonly ChainOf[] = [
  {
    family: 'ip',
    table: 'filter',
    chain: 'INPUT',
    direction: 'In',
    rules: [
      [
        '-s 10.0.0.0/8 -p tcp -m multiport --dports 22,80 -j ACCEPT',
        'Allow',
        { SourceAddress: '10.0.0.0/8', DestinationPort: '22,80', Protocol: 'tcp' },
        ACCEPT_IP,
      ],
      [
        '-m recent --name bad --set -j DROP',
        'Deny',
        {},
        { ...DROP_IP, Recent: 'set; name bad; mask 255.255.255.255; rsource' },
      ],
    ],
    policy: ['Allow', { Target: 'policy accept', Hook: 'input', ChainType: 'filter', HookPriority: '0' }],
  },
];

/** The payload elements that the agent must report for a chain: its rules and its policy. */
function expected(
  origin: 'nftables' | 'iptables',
  { family, table, chain, direction, off, rules, policy }: ChainOf,
): Payload[] {
  const place = { Origin: origin, Family: family, Table: table };
  const element = (priority: number, action: string, fields: Payload, details: Record<string, string>): Payload => ({
    Enabled: off !== true,
    Action: action,
    Priority: priority,
    ChainName: chain,
    ...(direction === undefined ? {} : { Direction: direction }),
    ...fields,
    ExtraDetails: { ...place, ...details },
  });
  const elements = rules.map(([, action, fields, details], index) => element(index, action, fields, details));
  return policy === undefined ? elements : [...elements, element(rules.length, policy[0], {}, policy[1])];
}

interface Snapshot {
  readonly payload?: readonly Payload[];
  readonly error?: { readonly id: string; readonly message: string; readonly remedy: string };
  readonly status: SourceStatus;
  readonly milliseconds: number;
  readonly residentMb: number;
}

const SNAPSHOT = fileURLToPath(new URL('firewall-snapshot.js', import.meta.url));

describe('The firewall of a network namespace', function () {
  this.timeout(120_000);
  let namespace: NetworkNamespace;

  before(function () {
    require(this, missingForNamespace('nft', 'iptables-legacy', 'ip6tables-legacy', 'iptables-nft', 'setpriv'));
  });
  beforeEach(() => {
    namespace = new NetworkNamespace();
  });
  afterEach(() => namespace?.remove());

  /** Takes a snapshot as root or with these options of setpriv(1). @param without names of tools that it does not find */
  const snapshot = (without: readonly string[] = [], ...setpriv: string[]): Snapshot => {
    const [program, ...args] = [...(setpriv.length === 0 ? [] : ['setpriv', ...setpriv]), process.execPath, SNAPSHOT];
    return JSON.parse(namespace.run(program ?? '', [...args, ...without]));
  };
  /** Returns the payload elements of one chain. */
  const elementsOf = (payload: readonly Payload[] = [], origin: string, { family, table, chain }: ChainOf) =>
    payload.filter(({ ChainName, ExtraDetails }) => {
      const { Origin, Family, Table } = ExtraDetails as Record<string, string>;
      return Origin === origin && Family === family && Table === table && ChainName === chain;
    });

  const loadNftables = () => {
    namespace.run(
      'nft',
      ['-f', '-'],
      [
        ...new Set(
          NFTABLES.map(
            ({ family, table }) => `add table ${family} ${table}${table === 'asleep' ? ' { flags dormant; }' : ''}`,
          ),
        ),
        'add set inet guard trusted { type ipv4_addr; flags interval; elements = { 192.0.2.7, 198.51.100.0/24 }; }',
        ...NFTABLES.map(({ family, table, chain, hook = '' }) => `add chain ${family} ${table} ${chain} { ${hook} }`),
        '',
      ].join('\n'),
    );
    for (const { family, table, chain, rules } of NFTABLES) {
      for (const [rule] of rules.filter(([text]) => text !== ''))
        namespace.run('nft', [`add rule ${family} ${table} ${chain} ${rule}`]);
    }
  };
  const loadIptables = (kind: 'legacy' | 'nft', chains: readonly ChainOf[]) => {
    for (const [family, tool] of [
      ['ip', 'iptables'],
      ['ip6', 'ip6tables'],
    ] as const) {
      const own = chains.filter((chain) => chain.family === family);
      if (own.length === 0) continue;
      namespace.run(
        `${tool}-${kind}-restore`,
        [],
        [
          '*filter',
          ...own.map(
            ({ chain, policy }) =>
              `:${chain} ${policy === undefined ? '-' : policy[0] === 'Deny' ? 'DROP' : 'ACCEPT'} [0:0]`,
          ),
          ...own.flatMap(({ chain, rules }) => rules.map(([rule]) => `-A ${chain} ${rule}`)),
          'COMMIT',
          '',
        ].join('\n'),
      );
    }
  };

  it('is reported rule by rule for nftables, legacy iptables and iptables-nft', () => {
    loadNftables();
    loadIptables('legacy', LEGACY);
    loadIptables('nft', THROUGH_NFTABLES);
    const { payload = [], status } = snapshot();
    assert.deepEqual(status, { state: 'on', source: 'nft+iptables' });

    const all = [
      ...[...NFTABLES, ...THROUGH_NFTABLES].map((chain) => ['nftables', chain] as const),
      ...LEGACY.map((chain) => ['iptables', chain] as const),
    ];
    for (const [origin, chain] of all) {
      const wanted = expected(origin, chain);
      const found = elementsOf(payload, origin, chain);
      for (const [index, [rule]] of chain.rules.entries()) assert.deepEqual(found[index], wanted[index], rule);
      assert.deepEqual(found, wanted);
    }
    assert.equal(
      payload.length,
      all.flatMap(([origin, chain]) => expected(origin, chain)).length,
      'nothing twice, nothing else',
    );
    const count = (chains: readonly ChainOf[]) => chains.flatMap(({ rules }) => rules).length;
    assert.ok(count(NFTABLES) >= 30 && count(LEGACY) >= 20);
  });

  it('has no rules when none are configured, even if nft is not installed', () => {
    const nothing = [
      { ChainName: 'INPUT', Enabled: false, Action: 'Allow', Direction: 'In' },
      { ChainName: 'OUTPUT', Enabled: false, Action: 'Allow', Direction: 'Out' },
      { ChainName: 'FORWARD', Enabled: false, Action: 'Allow' },
    ];
    const { payload, status } = snapshot();
    assert.deepEqual([payload, status], [nothing, { state: 'on', source: 'nft' }]);
    const without = snapshot(['nft']);
    assert.deepEqual([without.payload, without.status], [nothing, { state: 'on', source: 'netlink' }]);
    // The snapshot created no tables.
    assert.equal(namespace.run('cat', ['/proc/net/ip_tables_names', '/proc/net/ip6_tables_names']), '');
    assert.doesNotMatch(namespace.run('nft', ['list', 'ruleset']), /table/);
  });

  it('is read from iptables if nft is not installed, and the status names the unread tables', () => {
    loadIptables('nft', THROUGH_NFTABLES);
    assert.deepEqual(snapshot(['nft']).status, { state: 'on', source: 'iptables' });
    namespace.run('nft', ['add table inet mine']);
    const { payload = [], status } = snapshot(['nft']);
    assert.equal(payload.length, 5); // two rules, and the policies of three chains
    assert.equal(status.state, 'degraded');
    assert.match(status.reason ?? '', /without nft \(inet mine\)/);
  });

  it('names the extensions that no installed tool can show', () => {
    loadIptables('nft', THROUGH_NFTABLES);
    const { payload = [], status } = snapshot(['iptables-nft-save']);
    assert.match(JSON.stringify(payload[1]), /"XtMatch":"recent"/);
    assert.equal(status.state, 'degraded');
  });

  describe('for an ordinary user', () => {
    const asUser = ['--reuid', '65534', '--regid', '65534', '--clear-groups'];
    const withCapabilities = (...names: string[]) => {
      const list = names.map((name) => `+${name}`).join();
      return [...asUser, '--inh-caps', list, '--ambient-caps', list];
    };

    it('is unreadable, and the remedy names the missing capability', () => {
      const { error, status } = snapshot([], ...asUser);
      assert.equal(error?.id, 'SOURCE_UNREADABLE');
      assert.match(error?.message ?? '', /Operation not permitted/);
      assert.match(error?.remedy ?? '', /CAP_NET_ADMIN.*CAP_NET_RAW.*CAP_DAC_READ_SEARCH/);
      assert.equal(status.state, 'unavailable');
    });

    it('contains nftables with CAP_NET_ADMIN, and does not claim that legacy iptables is empty', () => {
      assert.equal(snapshot([], ...withCapabilities('net_admin')).error?.id, 'SOURCE_UNREADABLE');
      namespace.run('nft', ['add table inet mine; add chain inet mine input { type filter hook input priority 0; }']);
      const { payload, status } = snapshot([], ...withCapabilities('net_admin'));
      assert.equal(payload?.length, 1);
      assert.deepEqual([status.state, status.source], ['degraded', 'nft']);
    });

    it('is complete with the capabilities that the remedy names', () => {
      loadIptables('legacy', LEGACY);
      const { payload, status } = snapshot([], ...withCapabilities('net_admin', 'net_raw', 'dac_read_search'));
      assert.deepEqual(
        payload,
        LEGACY.flatMap((chain) => expected('iptables', chain)),
      );
      assert.deepEqual(status, { state: 'on', source: 'nft+iptables' });
    });
  });

  it('is read within the time limit when it has 1,000 rules', () => {
    const rules = Array.from(
      { length: 1_000 },
      (_, index) => `ip saddr 10.0.${index >> 8}.${index & 255} tcp dport ${1_000 + index} ct state new counter accept`,
    );
    namespace.run(
      'nft',
      ['-f', '-'],
      `table inet many { chain input { type filter hook input priority 0\n${rules.join('\n')}\n}\n}\n`,
    );
    const { payload, milliseconds } = snapshot();
    assert.equal(payload?.length, 1_001);
    assert.deepEqual(payload?.[999], {
      Enabled: true,
      Action: 'Allow',
      Priority: 999,
      ChainName: 'input',
      Direction: 'In',
      SourceAddress: '10.0.3.231',
      DestinationPort: '1999',
      Protocol: 'tcp',
      ExtraDetails: { Origin: 'nftables', Family: 'inet', Table: 'many', Target: 'accept', CtState: 'new' },
    });
    process.stdout.write(`      1000 rules in ${Math.round(milliseconds)} ms\n`);
    assert.ok(milliseconds < 30_000, `${milliseconds} ms`);
  });

  it('contains most of 20,000 rules and the number of omitted ones', () => {
    const rules = Array.from(
      { length: 20_000 },
      (_, index) =>
        `ip saddr 10.${index >> 16}.${(index >> 8) & 255}.${index & 255} tcp dport 22 ct state new counter drop`,
    );
    namespace.run(
      'nft',
      ['-f', '-'],
      `table inet many { chain block {\n${rules.join('\n')}\n}
      chain input { type filter hook input priority 0; policy drop; \njump block\n}\n}\n`,
    );
    const { payload = [], status, milliseconds, residentMb } = snapshot();
    const { state, leftOut = 0, reason = '' } = status as ListingStatus;
    process.stdout.write(
      `      20000 rules in ${Math.round(milliseconds)} ms, ${leftOut} left out, ${Math.round(residentMb)} MB\n`,
    );
    assert.equal(payload.length + leftOut, 20_002);
    assert.ok(payload.length > 5_000, `${payload.length}`);
    assert.equal(state, 'degraded');
    assert.match(reason, /rules are left out .*of inet many block/);
    assert.ok(
      payload.some(
        ({ ChainName, ExtraDetails }) => ChainName === 'input' && (ExtraDetails as Payload).Target === 'policy drop',
      ),
    );
  });

  it('omits the elements of a set of 100,000 addresses', () => {
    const hex = (value: number) => value.toString(16);
    const addresses = Array.from(
      { length: 130_000 },
      (_, index) => `2001:db8:1111:2222:3333:4444:${hex(0x5555 + (index >> 16))}:${hex(index & 0xffff)}`,
    );
    namespace.run(
      'nft',
      ['-f', '-'],
      `
      table inet many {
        set banned {
          type ipv6_addr
          elements = { ${addresses.join(', ')} }
        }
        map ways {
          type inet_service : verdict
        }
        chain lan {
          accept
        }
        chain input {
          type filter hook input priority 0
          ip6 saddr @banned drop
          tcp dport vmap @ways
        }
      }\n`,
    );
    const { payload = [], status } = snapshot();
    assert.equal(status.state, 'on');
    assert.match(status.reason ?? '', /left out/);
    assert.deepEqual(
      payload.map(({ ChainName, Enabled, SourceAddress }) => [ChainName, Enabled, SourceAddress]),
      [
        ['lan', true, undefined],
        ['input', true, '@banned'],
        ['input', true, undefined],
        ['input', true, undefined],
      ],
    );
  });
});
