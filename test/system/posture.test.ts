import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ShownPosture } from '../../src/agent/commands/posture/own.ts';
import { temporaryFolder } from '../harness/folders.ts';
import { require } from '../harness/require.ts';
import { PROGRAM } from '../integration/test-bed.ts';
import { nodeFlagsOf } from '../node-flags.ts';
import { missingForNamespace, NetworkNamespace } from './network-namespace.ts';

/** Firewalld's zone "public", shortened: the policy accepts, and the last rules reject. */
const FIREWALLD = `
table inet firewalld {
  chain filter_INPUT {
    type filter hook input priority filter + 10; policy accept;
    ct state { established, related } accept
    ct status dnat accept
    iifname "lo" accept
    ct state invalid drop
    jump filter_INPUT_POLICIES
    reject with icmpx admin-prohibited
  }
  chain filter_FORWARD {
    type filter hook forward priority filter + 10; policy accept;
    ct state { established, related } accept
    iifname "lo" accept
    ct state invalid drop
    reject with icmpx admin-prohibited
  }
  chain filter_OUTPUT {
    type filter hook output priority filter + 10; policy accept;
    ct state { established, related } accept
    oifname "lo" accept
  }
  chain filter_INPUT_POLICIES {
    iifname "eth0" jump filter_IN_public
    jump filter_IN_public
    reject with icmpx admin-prohibited
  }
  chain filter_IN_public {
    jump filter_IN_public_allow
    meta l4proto { icmp, ipv6-icmp } accept
    return
  }
  chain filter_IN_public_allow {
    tcp dport 22 ct state { new, untracked } accept
    ip6 daddr fe80::/64 udp dport 546 ct state { new, untracked } accept
  }
}`;

/** Rules of ufw, shortened: all packets pass its chains, and the policy drops. */
const UFW = `*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:ufw-before-input - [0:0]
:ufw-not-local - [0:0]
:ufw-user-input - [0:0]
:ufw-after-input - [0:0]
:ufw-reject-input - [0:0]
-A INPUT -j ufw-before-input
-A INPUT -j ufw-after-input
-A INPUT -j ufw-reject-input
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-input -m conntrack --ctstate INVALID -j DROP
-A ufw-before-input -p udp -m udp --sport 67 --dport 68 -j ACCEPT
-A ufw-before-input -j ufw-not-local
-A ufw-before-input -p udp -d 224.0.0.251 -m udp --dport 5353 -j ACCEPT
-A ufw-before-input -j ufw-user-input
-A ufw-not-local -m addrtype --dst-type LOCAL -j RETURN
-A ufw-not-local -m addrtype --dst-type MULTICAST -j RETURN
-A ufw-not-local -j DROP
-A ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT
COMMIT
`;

describe('The firewall posture that "vakt posture" shows for a network namespace', function () {
  this.timeout(120_000);
  let namespace: NetworkNamespace;

  before(function () {
    require(this, missingForNamespace('nft', 'iptables-nft-restore', 'ip6tables-nft-restore'));
  });
  beforeEach(() => {
    namespace = new NetworkNamespace();
  });
  afterEach(() => namespace.remove());

  /** Runs "vakt posture" without a running agent. */
  const posture = (): ShownPosture['posture'] => {
    const folder = temporaryFolder();
    const identity = { kind: 'connectionString', file: 'secret' };
    const config = join(folder, 'agent.json');
    writeFileSync(config, JSON.stringify({ identity, controlSocket: 'control.sock' }));
    const args = [...nodeFlagsOf(PROGRAM), PROGRAM, 'posture', '--json', '--fail-on', 'never', '--config', config];
    return (JSON.parse(namespace.run(process.execPath, args)) as ShownPosture).posture;
  };
  const nft = (ruleset: string) => namespace.run('nft', ['-f', '-'], ruleset);
  const useIpv6 = () => {
    namespace.run('ip', ['link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth1']);
    namespace.run('ip', ['link', 'set', 'eth0', 'up']);
    namespace.run('ip', ['address', 'add', 'fd00::1/64', 'dev', 'eth0']);
  };

  it('is open without any rule', () => {
    const { exposure, firewall, recommendations } = posture();
    assert.deepEqual(exposure, { openPorts: 0, ports: '' });
    assert.deepEqual(firewall, { inbound: 'none', forward: 'none', outbound: 'none', permissiveRules: 0 });
    assert.deepEqual(recommendations?.permissiveFirewallPolicy, { severity: 'Medium', count: 3 });
    assert.equal(recommendations?.openPorts, undefined);
  });

  it('is closed with the rules of firewalld', () => {
    useIpv6();
    nft(FIREWALLD);
    const { firewall, recommendations } = posture();
    assert.deepEqual(firewall, { inbound: 'deny', forward: 'deny', outbound: 'allow', permissiveRules: 0 });
    assert.deepEqual(recommendations?.permissiveFirewallPolicy, { severity: 'Low', count: 1 });
  });

  it('is closed with the rules of ufw, unless they omit IPv6', () => {
    namespace.run('iptables-nft-restore', [], UFW);
    assert.deepEqual(posture().firewall, { inbound: 'deny', forward: 'deny', outbound: 'allow', permissiveRules: 0 });
    useIpv6();
    assert.equal(posture().firewall?.inbound, 'allow');
    namespace.run('ip6tables-nft-restore', [], '*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\nCOMMIT\n');
    assert.equal(posture().firewall?.inbound, 'deny');
  });

  it('is open if one rule accepts a range of ports', () => {
    nft(
      'table inet own { chain in { type filter hook input priority 0; policy drop; tcp dport 1024-65535 accept; }; }',
    );
    assert.deepEqual(posture().firewall, { inbound: 'deny', forward: 'none', outbound: 'none', permissiveRules: 1 });
    nft('insert rule inet own in counter accept comment "for a test"');
    assert.deepEqual(posture().firewall, { inbound: 'allow', forward: 'none', outbound: 'none', permissiveRules: 2 });
    nft('add table inet own { flags dormant; }');
    assert.equal(posture().firewall?.inbound, 'none');
  });
});
