import * as v from 'valibot';
import type { FirewallRule } from '../../contract/sources.ts';
import { hasFeature } from '../features.ts';
import { primitive } from '../primitive.ts';
import { cannotJudge, fail, pass, skip } from '../verdict.ts';

const HOOKS = ['input', 'forward', 'output'] as const;

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

  async judge(of, system) {
    if (!system.seesHostNetwork() || system.firewall === undefined)
      return skip('the host’s packet filter is not visible to the agent');
    const rules = await system.firewallRules();
    if ('problem' in rules) return { ...cannotJudge(rules.problem), denied: rules.denied };
    const active = rules.found.filter(({ enabled }) => enabled);
    if (of.check === 'anyRules') {
      const own = active.filter((rule) => !isPolicy(rule) || rule.action === 'Deny');
      return own.length > 0 ? pass(`${own.length} rules`) : fail('no rules');
    }
    // Each family has its own chains; those of inet see both.
    for (const family of (await hasFeature(system, 'ipv6')) ? ['ip', 'ip6'] : ['ip']) {
      const own = active.filter((rule) => (rule.family === family || rule.family === 'inet') && isOf(rule, of.hook));
      const bases = own.filter(isPolicy);
      if (bases.some((policy) => closes(policy, own))) continue;
      const [policy] = bases;
      return policy === undefined
        ? fail(`no chain for ${family}`)
        : fail(`${policy.target} for ${family}`, placeOf(policy));
    }
    return pass('dropped');
  },
});

const isPolicy = ({ target }: FirewallRule) => target.startsWith('policy ');

const placeOf = ({ origin, family, table, chain }: FirewallRule) => `${origin} ${family} ${table} ${chain}`;

/** Forward chains may be recognised only by their name; both tools have the same naming convention. */
function isOf({ direction, chain, table, matches }: FirewallRule, hook: (typeof HOOKS)[number]): boolean {
  if (table === 'nat' || table === 'mangle' || table === 'raw') return false;
  if (hook === 'forward') return direction === undefined && (matches.hook === 'forward' || /forward/i.test(chain));
  return direction === (hook === 'input' ? 'In' : 'Out');
}

/** Whether a base chain drops packets that no rule accepts: by its policy, or by a rule that drops all packets. */
const closes = (policy: FirewallRule, rules: readonly FirewallRule[]): boolean =>
  policy.action === 'Deny' || rules.some((rule) => placeOf(rule) === placeOf(policy) && deniesAll(rule));

function deniesAll({ action, matches, ...rule }: FirewallRule): boolean {
  const parts = [rule.protocol, rule.sourceAddress, rule.sourcePort, rule.destinationAddress, rule.destinationPort];
  return action === 'Deny' && Object.keys(matches).length === 0 && parts.every((part) => part === undefined);
}
