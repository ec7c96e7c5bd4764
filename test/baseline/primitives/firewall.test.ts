import { AgentError } from '../../../src/base/errors.ts';
import { firewall } from '../../../src/baseline/primitives/firewall.ts';
import type { FirewallRule } from '../../../src/contract/sources.ts';
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
const IPV6 = { ...RUNNING, 'proc/sys/net/ipv6/conf/x': '' };

describePrimitive(firewall, {
  'there are rules': { params: any, ...withRules(rule({ protocol: 'tcp' }), policy({})), result: 'pass' },
  'there are empty chains only': { params: any, ...withRules(policy({})), result: 'fail' },
  'rules that no packet comes by are none': { params: any, ...withRules(rule({ enabled: false })), result: 'fail' },
  'a policy that drops': { params: input, ...withRules(policy(DROP)), result: 'pass' },
  'a policy that accepts': { params: input, ...withRules(policy({})), result: 'fail', actual: 'policy accept for ip' },
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
  'IPv4 closed, IPv6 open': {
    params: input,
    parts: withRules(policy({ ...DROP, family: 'ip' }), policy({ family: 'ip6' })).parts,
    tree: IPV6,
    result: 'fail',
    actual: 'policy accept for ip6',
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
