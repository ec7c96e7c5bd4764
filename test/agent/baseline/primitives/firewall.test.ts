import { firewall } from '../../../../src/agent/baseline/primitives/firewall.ts';
import { parseIptablesSave } from '../../../../src/agent/linux/firewall/iptables-save.ts';
import { rulesOf } from '../../../../src/agent/linux/firewall/ruleset.ts';
import { AgentError } from '../../../../src/core/base/errors.ts';
import type { FirewallRule } from '../../../../src/core/contract/sources.ts';
import { RUNNING } from '../tree.ts';
import { describePrimitive } from './cases.ts';

const any = { check: 'anyRules' };
const input = { check: 'defaultDeny', hook: 'input' };

const rule = (change: Partial<FirewallRule>): FirewallRule => ({
  origin: 'nftables',
  family: 'inet',
  table: 'filter',
  chain: 'input',
  enabled: true,
  action: 'Allow',
  target: 'accept',
  priority: 0,
  direction: 'In',
  matches: {},
  ...change,
});
const policy = (change: Partial<FirewallRule>) =>
  rule({ target: 'policy accept', matches: { hook: 'input' }, ...change });
const DROP = { action: 'Deny', target: 'policy drop' } as const;
const withRules = (...rules: FirewallRule[]) => ({ parts: { firewall: { rules: async () => rules } }, tree: RUNNING });
/** @param save the output of iptables-save */
const withIptables = (...save: string[]) =>
  withRules(...parseIptablesSave(save.join('\n'), { origin: 'iptables', family: 'ip' }).flatMap(rulesOf));
const IPV6 = { ...RUNNING, 'proc/sys/net/ipv6/conf/x': '' };

describePrimitive(firewall, {
  'there are rules': { params: any, ...withRules(rule({ protocol: 'tcp' }), policy({})), result: 'pass' },
  'there are empty chains only': { params: any, ...withRules(policy({})), result: 'fail' },
  'rules that no packet comes by are none': { params: any, ...withRules(rule({ enabled: false })), result: 'fail' },
  'a policy that drops': { params: input, ...withRules(policy(DROP)), result: 'pass' },
  'a policy that accepts': {
    params: input,
    ...withRules(policy({})),
    result: 'fail',
    actual: 'accepted for ip',
    where: 'nftables inet filter input',
  },
  'a last rule that drops whatever is left': {
    params: input,
    ...withRules(rule({ protocol: 'tcp' }), rule({ action: 'Deny', target: 'reject', priority: 1 }), policy({})),
    result: 'pass',
  },
  'a rule that drops some is not enough': {
    params: input,
    ...withRules(rule({ action: 'Deny', target: 'drop', protocol: 'udp' }), policy({})),
    result: 'fail',
  },
  'a policy that drops, behind a rule that accepts whatever comes': {
    params: input,
    ...withIptables('*filter', ':INPUT DROP [0:0]', '-A INPUT -j ACCEPT', '-A INPUT -j DROP'),
    result: 'fail',
    actual: 'accepted for ip',
    where: 'iptables ip filter INPUT',
  },
  'a policy of a table that does not filter': {
    params: input,
    ...withIptables('*security', ':INPUT DROP [0:0]', 'COMMIT', '*filter', ':INPUT ACCEPT [0:0]'),
    result: 'fail',
  },
  'a policy of a chain of another type': {
    params: input,
    ...withRules(policy({ ...DROP, matches: { hook: 'input', 'chain type': 'nat' } })),
    result: 'fail',
    actual: 'no chain for ip',
  },
  'a last rule that drops whatever is left, with a comment and a line in the log': {
    params: input,
    ...withRules(rule({ action: 'Deny', target: 'drop', matches: { comment: 'x', log: 'prefix "x"' } }), policy({})),
    result: 'pass',
  },
  'a rule that hands all packets to a program': {
    params: input,
    ...withIptables('*filter', ':INPUT DROP [0:0]', '-A INPUT -j NFQUEUE --queue-num 0'),
    result: 'err',
    reason: 'a program decides for ip',
  },
  'a forwarding chain of any name that drops by a rule': {
    params: { check: 'defaultDeny', hook: 'forward' },
    ...withRules(
      ...[rule({ action: 'Deny', target: 'drop' }), policy({ matches: { hook: 'forward' } })].map(
        ({ direction: _, ...of }) => ({ ...of, chain: 'fwd' }),
      ),
    ),
    result: 'pass',
  },
  'IPv4 closed, IPv6 open': {
    params: input,
    parts: withRules(policy({ ...DROP, family: 'ip' }), policy({ family: 'ip6' })).parts,
    tree: IPV6,
    result: 'fail',
    actual: 'accepted for ip6',
  },
  'IPv4 closed, and no chain for IPv6': {
    params: input,
    parts: withRules(policy({ ...DROP, family: 'ip' })).parts,
    tree: IPV6,
    result: 'fail',
    actual: 'no chain for ip6',
  },
  'forwarding, by the hook that the chain says': {
    params: { check: 'defaultDeny', hook: 'forward' },
    ...withRules(policy({ ...DROP, chain: 'through', matches: { hook: 'forward' }, direction: undefined as never })),
    result: 'pass',
  },
  'nobody gives the rules': { params: any, tree: RUNNING, result: 'skip' },
  'the rules can not be read': {
    params: any,
    parts: {
      firewall: {
        rules: () =>
          Promise.reject(new AgentError('SOURCE_UNREADABLE', 'Operation not permitted.', 'Grant CAP_NET_ADMIN.')),
      },
    },
    tree: RUNNING,
    result: 'err',
    reason: 'Operation not permitted. Grant CAP_NET_ADMIN.',
  },
});
