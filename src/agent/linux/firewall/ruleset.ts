import type { FirewallRule } from '../../../core/contract/sources.ts';

/* The model of a packet filter as its tool lists it. nftables and iptables both have tables of chains of rules; packets
 * enter chains at hooks and move on by jumps. */

export type Action = FirewallRule['action'];

/** What a rule says, without its position. */
type Content = Omit<FirewallRule, 'origin' | 'family' | 'table' | 'chain' | 'enabled' | 'priority' | 'direction'>;

/** The content of a rule, and what it says about other rules. */
export interface Rule extends Content {
  /** Chains of the same table that it jumps to; `any` when they are not known. */
  readonly jumps: readonly string[] | 'any';
  /** Whether the tool shows only the names of some of its parts. */
  readonly partial: boolean;
}

/** Where packets enter a chain. */
export interface Base {
  /** `input`, `forward`, …: nft's names, in lower case. */
  readonly hook: string;
  readonly policy: 'accept' | 'drop';
  /** Further properties, by name. */
  readonly facts: Readonly<Record<string, string>>;
}

/** The last rules of a chain, which are not in the listing. */
export interface LeftOut {
  readonly rules: number;
  /** Chains that they jump to; `any` when they are not known. */
  readonly jumps: Rule['jumps'];
}

export interface Chain {
  readonly name: string;
  /** Absent for a chain that is reached by jumps only. */
  readonly base?: Base;
  readonly rules: readonly Rule[];
  readonly leftOut?: LeftOut;
}

/** A chain while the listing is read. */
export interface ChainDraft {
  readonly name: string;
  base?: Base;
  readonly rules: Rule[];
  leftOut?: LeftOut;
}

export interface Table {
  readonly origin: FirewallRule['origin'];
  readonly family: string;
  readonly name: string;
  /** Whether the table is dormant: its hooks are disabled and its rules not evaluated. */
  readonly dormant: boolean;
  readonly chains: readonly Chain[];
}

/** Which way a packet at each hook goes, as far as the contract distinguishes it. */
type Way = 'In' | 'Out' | 'Through';

const wayOf = (hook: string): Way => (hook === 'input' ? 'In' : hook === 'output' ? 'Out' : 'Through');

/** All rules of a table in order; the policy of a base chain follows its rules. */
export function rulesOf(table: Table): FirewallRule[] {
  const ways = waysInto(table.chains);
  return table.chains.flatMap((chain) => {
    const reached = ways.get(chain.name) ?? new Set();
    const [way] = reached;
    // Undefined members are set, too: there may be tens of thousands of rules, and V8 keeps one shape for all.
    const ruleAt = (content: Content, priority: number): FirewallRule => ({
      origin: table.origin,
      family: table.family,
      table: table.name,
      chain: chain.name,
      enabled: !table.dormant && reached.size > 0,
      action: content.action,
      target: content.target,
      priority,
      direction: reached.size > 1 || way === 'Through' ? undefined : way,
      sourceAddress: content.sourceAddress,
      sourcePort: content.sourcePort,
      destinationAddress: content.destinationAddress,
      destinationPort: content.destinationPort,
      protocol: content.protocol,
      matches: content.matches,
    });
    const rules = chain.rules.map(ruleAt);
    return chain.base === undefined
      ? rules
      : [...rules, ruleAt(policyOf(chain.base), rules.length + (chain.leftOut?.rules ?? 0))];
  });
}

const policyOf = ({ policy, facts }: Base): Content => ({
  action: policy === 'drop' ? 'Deny' : 'Allow',
  target: `policy ${policy}`,
  matches: facts,
});

/** The ways by which packets reach each chain: from its own hook, or from the chains that jump to it. */
function waysInto(chains: readonly Chain[]): Map<string, Set<Way>> {
  const byName = new Map(chains.map((chain) => [chain.name, chain]));
  const ways = new Map(chains.map(({ name }) => [name, new Set<Way>()]));
  for (const way of ['In', 'Out', 'Through'] as const) {
    const waiting = chains.filter(({ base }) => base !== undefined && wayOf(base.hook) === way);
    const come = ({ name }: Chain) => ways.get(name)?.add(way);
    waiting.forEach(come);
    let allQueued = false;
    for (let chain = waiting.pop(); chain !== undefined; chain = waiting.pop()) {
      for (const { jumps } of chain.leftOut === undefined ? chain.rules : [...chain.rules, chain.leftOut]) {
        if (jumps === 'any' && allQueued) continue;
        allQueued ||= jumps === 'any';
        const next =
          jumps === 'any' ? chains.filter(({ base }) => base === undefined) : jumps.map((name) => byName.get(name));
        for (const target of next) {
          if (target === undefined || ways.get(target.name)?.has(way) === true) continue;
          come(target);
          waiting.push(target);
        }
      }
    }
  }
  return ways;
}
