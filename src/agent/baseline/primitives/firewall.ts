import * as v from 'valibot';
import { type FirewallRow, firewallRow } from '../../../core/contract/firewall-row.ts';
import { HOOKS, isPolicy, PacketFilter } from '../../host/packet-filter.ts';
import { hasFeature } from '../features.ts';
import { primitive } from '../primitive.ts';
import { cannotEvaluate, fail, pass, skip, type Verdict } from '../verdict.ts';

const params = v.variant('check', [
  v.strictObject({ check: v.literal('anyRules') }),
  v.strictObject({ check: v.literal('defaultDeny'), hook: v.picklist(HOOKS) }),
]);

/** The packet filter, as the agent's own reader of nftables and iptables reports it. */
export const firewall = primitive({
  name: 'firewall',
  summary: 'The rules of nftables and iptables, as the collector FirewallConfiguration reads them.',
  params,
  expected: (of) =>
    of.check === 'anyRules' ? 'there are rules' : `packets that no rule of the hook ${of.hook} allows are dropped`,
  remedy: (of) =>
    of.check === 'anyRules'
      ? 'Load a packet filter at boot, for example with nftables.service.'
      : `Add rules for the traffic to allow, then set the policy of the chain of the hook ${of.hook} to drop.`,

  async evaluate(of, system) {
    if (!system.seesHostNetwork() || system.firewall === undefined)
      return skip('the host’s packet filter is not visible to the agent');
    const rules = await system.firewallRules();
    if ('problem' in rules) return { ...cannotEvaluate(rules.problem), denied: rules.denied };
    const rows = rules.found.map(firewallRow);
    if (of.check === 'anyRules') {
      const own = rows.filter((row) => row.Enabled && (!isPolicy(row) || row.Action === 'Deny'));
      return own.length > 0 ? pass(`${own.length} rules`) : fail('no rules');
    }
    const filter = new PacketFilter(rows);
    let unknown: Verdict | undefined;
    // Each family has its own chains; the chains of inet see both.
    for (const family of (await hasFeature(system, 'ipv6')) ? (['ip', 'ip6'] as const) : (['ip'] as const)) {
      const direction = filter.direction(of.hook, family);
      const [chain] = filter.bases(of.hook, family);
      const place = chain?.at(-1);
      if (direction === 'none' || place === undefined) return fail(`no chain for ${family}`);
      if (direction === 'allow') return fail(`accepted for ${family}`, placeOf(place));
      if (direction === 'unknown') unknown ??= cannotEvaluate(`a program decides for ${family}`, placeOf(place));
    }
    return unknown ?? pass('dropped');
  },
});

const placeOf = ({ ChainName, ExtraDetails: { Origin, Family, Table } = {} }: FirewallRow) =>
  `${Origin} ${Family} ${Table} ${ChainName}`;
