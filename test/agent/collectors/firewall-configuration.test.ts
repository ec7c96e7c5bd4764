import assert from 'node:assert/strict';
import { firewallConfiguration } from '../../../src/agent/collectors/firewall-configuration.ts';
import type { FirewallRule } from '../../../src/core/contract/sources.ts';
import { sources } from './samples.ts';

const { signal } = new AbortController();
const of = (...rules: FirewallRule[]) =>
  firewallConfiguration.collect({ ...sources, firewall: { ...sources.firewall, rules: async () => rules } }, signal);

const rule: FirewallRule = {
  origin: 'iptables',
  family: 'ip',
  table: 'filter',
  chain: 'INPUT',
  enabled: true,
  action: 'Other',
  target: 'jump WEB',
  priority: 3,
  matches: {},
};

describe('FirewallConfiguration', () => {
  it('reports all rules and policies', async () => {
    assert.deepEqual(await firewallConfiguration.collect(sources, signal), [
      {
        Enabled: true,
        Action: 'Allow',
        Priority: 0,
        ChainName: 'input',
        Direction: 'In',
        SourceAddress: '192.0.2.0/24',
        DestinationPort: '22',
        Protocol: 'tcp',
        ExtraDetails: {
          Origin: 'nftables',
          Family: 'inet',
          Table: 'filter',
          Target: 'accept',
          InInterface: 'eth0',
          CtState: 'new',
        },
      },
      {
        Enabled: true,
        Action: 'Deny',
        Priority: 1,
        ChainName: 'input',
        Direction: 'In',
        ExtraDetails: { Origin: 'nftables', Family: 'inet', Table: 'filter', Target: 'policy drop' },
      },
    ]);
  });

  it('reports that no firewall is configured', async () => {
    assert.deepEqual(await of(), [
      { ChainName: 'INPUT', Enabled: false, Action: 'Allow', Direction: 'In' },
      { ChainName: 'OUTPUT', Enabled: false, Action: 'Allow', Direction: 'Out' },
      { ChainName: 'FORWARD', Enabled: false, Action: 'Allow' },
    ]);
  });

  for (const [name, key] of Object.entries({
    'in-interface': 'InInterface',
    'ct original ip saddr': 'CtOriginalIpSaddr',
    '@nh,0,8': 'Nh0_8',
    'ip6 hoplimit': 'Ip6Hoplimit',
    '': 'Match',
    '§': 'Match',
    table: 'MatchTable',
    Target: 'MatchTarget',
  })) {
    it(`reports "${name}" as ${key}`, async () => {
      const [payload] = await of({ ...rule, matches: { [name]: 'x' } });
      assert.deepEqual(payload?.ExtraDetails, {
        Origin: 'iptables',
        Family: 'ip',
        Table: 'filter',
        Target: 'jump WEB',
        [key]: 'x',
      });
    });
  }

  it('keeps both of two matches with the same name', async () => {
    const [payload] = await of({ ...rule, matches: { 'ct state': 'new', 'ct-state': 'invalid' } });
    assert.match(JSON.stringify(payload), /"CtState":"new; invalid"/);
  });

  it('reports its source', () => {
    assert.deepEqual(firewallConfiguration.sourceStatus?.(sources), { state: 'on', source: 'nft' });
  });

  it('passes the abort signal on, and rethrows errors', async () => {
    const failing = { ...sources.firewall, rules: (given: AbortSignal) => Promise.reject(given) };
    await assert.rejects(
      firewallConfiguration.collect({ ...sources, firewall: failing }, signal),
      (thrown) => thrown === signal,
    );
  });
});
