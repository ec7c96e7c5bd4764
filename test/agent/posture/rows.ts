import { collectors } from '../../../src/agent/collectors/index.ts';
import { parseIptablesSave } from '../../../src/agent/linux/firewall/iptables-save.ts';
import { rulesOf } from '../../../src/agent/linux/firewall/ruleset.ts';
import { accountsFrom, passwordsIn } from '../../../src/agent/linux/machine/local-accounts.ts';
import type { Payload } from '../../../src/core/contract/event.ts';
import type { Account, FirewallRule, ListeningSocket, Sources } from '../../../src/core/contract/sources.ts';
import { parseNftables } from '../linux/firewall/parse-nftables.ts';

/* Rows as the collectors make them, from what the sources read. */

async function collected(event: string, sources: object): Promise<Payload[]> {
  const collector = collectors.find(({ name }) => name === event);
  if (collector?.category !== 'Periodic') throw new Error(`${event} is no snapshot`);
  return collector.collect(sources as Sources, new AbortController().signal);
}

export const portRows = (sockets: readonly ListeningSocket[]) =>
  collected('ListeningPorts', { sockets: { listening: async () => sockets } });

export const ruleRows = (rules: readonly FirewallRule[]) =>
  collected('FirewallConfiguration', { firewall: { rules: async () => rules } });

/** @param save the output of iptables-save, and of ip6tables-save */
export const iptablesRows = ({ ip, ip6 = '' }: { ip: string; ip6?: string }) =>
  ruleRows(
    [
      ...parseIptablesSave(ip, { origin: 'iptables', family: 'ip' }),
      ...parseIptablesSave(ip6, { origin: 'iptables', family: 'ip6' }),
    ].flatMap(rulesOf),
  );

/** @param json the output of `nft -j list ruleset` */
export const nftRows = (json: string) => ruleRows(parseNftables(json).flatMap(rulesOf));

export const accountRows = (accounts: readonly Account[]) =>
  collected('LocalUsers', { accounts: { list: async () => accounts } });

/** @param files lines of the files; without shadow, it can't be read */
export const userRows = ({ passwd, shadow }: { passwd: readonly string[]; shadow?: readonly string[] }) =>
  accountRows(
    accountsFrom(
      Buffer.from(passwd.join('\n')),
      Buffer.from('root:x:0:\n'),
      shadow === undefined ? new Map() : passwordsIn(Buffer.from(shadow.join('\n'))),
    ),
  );
