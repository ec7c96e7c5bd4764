import type { FirewallRule } from '../../contract/sources.ts';

/* A packet filter as its tool lists it, and what its shape means for every rule: both of Linux's filters have tables of
 * chains of rules, with packets coming in at hooks and going on by jumps. */

export type Action = FirewallRule['action'];

/** What a rule says by itself, wherever it stands. */
export interface Rule
  extends Omit<FirewallRule, 'origin' | 'family' | 'table' | 'chain' | 'enabled' | 'priority' | 'direction'> {
  /** Chains of its table that it sends packets to; `any` when it can't be known which. */
  readonly jumps: readonly string[] | 'any';
  /** Whether it has parts that the tool has names for only. */
  readonly partial: boolean;
}

/** Where packets come into a chain. */
export interface Base {
  /** `input`, `forward`, …: as nft calls them, in lower case. */
  readonly hook: string;
  readonly policy: 'accept' | 'drop';
  /** What else there is to say of it, by name. */
  readonly facts: Readonly<Record<string, string>>;
}

export interface Chain {
  readonly name: string;
  /** Absent for a chain that packets only reach by a jump. */
  readonly base?: Base;
  readonly rules: readonly Rule[];
}

/** A chain while its tool's listing is read. */
export interface ChainDraft {
  readonly name: string;
  base?: Base;
  readonly rules: Rule[];
}

export interface Table {
  readonly origin: FirewallRule['origin'];
  readonly family: string;
  readonly name: string;
  /** Whether its hooks are off, and nothing in it is looked at. */
  readonly dormant: boolean;
  readonly chains: readonly Chain[];
}

/** What the kernel does with a packet that comes to a hook, for all that the contract asks. */
type Way = 'In' | 'Out' | 'Through';

const wayOf = (hook: string): Way => (hook === 'input' ? 'In' : hook === 'output' ? 'Out' : 'Through');

/** All rules of a table in its order, and behind those of a base chain its policy. */
export function rulesOf(table: Table): FirewallRule[] {
  const { origin, family, name } = table;
  const ways = waysInto(table.chains);
  return table.chains.flatMap((chain) => {
    const reached = ways.get(chain.name) ?? new Set();
    const place = { origin, family, table: name, chain: chain.name, enabled: !table.dormant && reached.size > 0 };
    const [way] = reached;
    const direction = reached.size === 1 && way !== 'Through' ? { direction: way as 'In' | 'Out' } : {};
    const rules: FirewallRule[] = chain.rules.map(({ jumps: _, partial: __, ...says }, priority) => ({
      ...place,
      ...says,
      ...direction,
      priority,
    }));
    return chain.base === undefined
      ? rules
      : [...rules, { ...place, ...policyOf(chain.base), ...direction, priority: rules.length }];
  });
}

const policyOf = ({ policy, facts }: Base) => ({
  action: policy === 'drop' ? ('Deny' as const) : ('Allow' as const),
  target: `policy ${policy}`,
  matches: facts,
});

/** By which ways packets can come into each chain: from its own hook, or from those of the chains that jump to it. */
function waysInto(chains: readonly Chain[]): Map<string, Set<Way>> {
  const byName = new Map(chains.map((chain) => [chain.name, chain]));
  const ways = new Map(chains.map(({ name }) => [name, new Set<Way>()]));
  for (const way of ['In', 'Out', 'Through'] as const) {
    const waiting = chains.filter(({ base }) => base !== undefined && wayOf(base.hook) === way);
    const come = ({ name }: Chain) => ways.get(name)?.add(way);
    waiting.forEach(come);
    let everywhere = false;
    for (let chain = waiting.pop(); chain !== undefined; chain = waiting.pop()) {
      for (const { jumps } of chain.rules) {
        if (jumps === 'any' && everywhere) continue;
        everywhere ||= jumps === 'any';
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
