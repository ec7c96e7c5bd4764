import type { Payload } from '../../../core/contract/event.ts';
import {
  type Family,
  type FirewallRow,
  type Hook,
  isForAll,
  isOfFamily,
  isOpen,
  isPolicy,
  isQueue,
  isReturn,
  jumpOf,
} from './row.ts';

/**
 * What happens to a new packet that no rule mentions. `none`: the packet filter has no chain for it, so it passes.
 * `unknown`: the rules could not be read in full, or a program decides.
 */
export type Direction = 'deny' | 'allow' | 'none' | 'unknown';

/** The packet filter of the network namespace that the agent is in. */
export interface FirewallPosture {
  readonly inbound: Direction;
  readonly forward: Direction;
  readonly outbound: Direction;
  /** Rules that allow packets from anywhere to any port, or to a broad range of them. */
  readonly permissiveRules: number;
}

/** Rules in such tables of iptables do not decide whether a packet passes. */
const OTHER_TABLES = ['nat', 'mangle', 'raw', 'security'];
/** Jumps within one another. nft allows 16. */
const MAX_DEPTH = 64;

type Verdict = Exclude<Direction, 'none'>;
/** What a chain does with packets. `back`: it hands them to the chain that they came from. */
type Outcome = Verdict | 'back';

/** The evaluated rules, and the known outcomes of chains. */
interface EvaluatedRules {
  readonly hook: Hook;
  readonly family: Family;
  readonly known: Map<string, Outcome>;
}

/** @param hasIpv6 whether IPv6 is in use; without it, missing filters for IPv6 are not a risk */
export function firewallPostureOf(rows: readonly Payload[], { hasIpv6 }: { hasIpv6: boolean }): FirewallPosture {
  const filter = new PacketFilter(rows as unknown as readonly FirewallRow[]);
  const families: readonly Family[] = hasIpv6 ? ['ip', 'ip6'] : ['ip'];
  const direction = (hook: Hook) => worst(families.map((family) => filter.direction(hook, family)));
  const permissive = new Set<FirewallRow>();
  for (const hook of ['input', 'forward'] as const)
    for (const family of families) for (const row of filter.permissive(hook, family)) permissive.add(row);
  return {
    inbound: direction('input'),
    forward: direction('forward'),
    outbound: direction('output'),
    permissiveRules: permissive.size,
  };
}

/** An attacker who is denied one family uses the other. `none` only if nothing is filtered at all. */
function worst(families: readonly Direction[]): Direction {
  const [first = 'none'] = families;
  if (families.every((each) => each === first)) return first;
  return families.some((each) => each === 'allow' || each === 'none') ? 'allow' : 'unknown';
}

/** The rules in force, by their chains. */
export class PacketFilter {
  readonly #rows = new Map<string, FirewallRow[]>();

  constructor(rows: readonly FirewallRow[]) {
    for (const row of rows) {
      if (!row.Enabled) continue;
      const key = keyOf(row, row.ChainName);
      const chain = this.#rows.get(key);
      if (chain === undefined) this.#rows.set(key, [row]);
      else chain.push(row);
    }
  }

  /** A packet must pass every chain of a hook: one that denies is enough. */
  direction(hook: Hook, family: Family): Direction {
    const of: EvaluatedRules = { hook, family, known: new Map() };
    const verdicts = this.bases(hook, family).map((chain) => this.#outcome(chain, of, 0));
    if (verdicts.length === 0) return 'none';
    if (verdicts.includes('deny')) return 'deny';
    return verdicts.includes('unknown') ? 'unknown' : 'allow';
  }

  permissive(hook: Hook, family: Family): Set<FirewallRow> {
    const of: EvaluatedRules = { hook, family, known: new Map() };
    const found = new Set<FirewallRow>();
    const seen = new Set<string>();
    const waiting = this.bases(hook, family).map((chain) => ({ chain, afterwards: endOf(chain) }));
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const { chain, afterwards } = next;
      const [first] = chain;
      const key = first === undefined ? '' : `${keyOf(first, first.ChainName)}\n${afterwards}`;
      if (first === undefined || seen.has(key)) continue;
      seen.add(key);
      let rest: Outcome = 'back';
      for (const row of this.#reached(chain, of).toReversed()) {
        const outcome = this.#outcomeOf(row, of, 0);
        if (isOpen(row, hook)) {
          const jump = jumpOf(row);
          if (row.Action === 'Allow' || (outcome === 'back' && rest === 'deny' && afterwards === 'allow'))
            found.add(row);
          if (jump !== undefined)
            waiting.push({
              chain: this.#rows.get(keyOf(row, jump.chain)) ?? [],
              afterwards: rest === 'back' || jump.isGoto ? afterwards : rest,
            });
        }
        if (outcome !== undefined && isForAll(row, hook)) rest = outcome;
      }
    }
    return found;
  }

  /** The rules of a chain, up to the first after which no packet remains because all are denied or returned. */
  #reached(chain: readonly FirewallRow[], { hook, family }: EvaluatedRules): readonly FirewallRow[] {
    const rules = chain.filter((row) => !isPolicy(row) && isOfFamily(row, family));
    const last = rules.findIndex((row) => (row.Action === 'Deny' || isReturn(row)) && isForAll(row, hook));
    return last === -1 ? rules : rules.slice(0, last + 1);
  }

  /** The chains that the packets of a family enter at a hook, and that can deny them. */
  bases(hook: Hook, family: Family): readonly (readonly FirewallRow[])[] {
    return [...this.#rows.values()].filter((chain) => {
      const last = chain.at(-1);
      if (last === undefined || !isPolicy(last)) return false;
      const {
        Family: of,
        Table = '',
        Hook: at = last.ChainName?.toLowerCase(),
        ChainType = 'filter',
      } = last.ExtraDetails ?? {};
      const isOther = of !== 'inet' && OTHER_TABLES.includes(Table);
      return at === hook && (of === family || of === 'inet') && ChainType === 'filter' && !isOther;
    });
  }

  /** What the first rule that applies to every packet says, else the policy. */
  #outcome(chain: readonly FirewallRow[], of: EvaluatedRules, depth: number): Outcome {
    for (const row of chain) {
      if (isPolicy(row) || !isOfFamily(row, of.family) || !isForAll(row, of.hook)) continue;
      const outcome = this.#outcomeOf(row, of, depth);
      if (outcome !== undefined) return outcome === 'back' ? endOf(chain) : outcome;
    }
    return endOf(chain);
  }

  /**
   * Result for the packets that a rule applies to; `undefined`: the next rule decides. A rule that hands them to another
   * chain counts as the rules of that chain.
   */
  #outcomeOf(row: FirewallRow, of: EvaluatedRules, depth: number): Outcome | undefined {
    if (row.Action === 'Deny') return 'deny';
    if (row.Action === 'Allow') return 'allow';
    if (isQueue(row)) return 'unknown';
    if (isReturn(row)) return 'back';
    const jump = jumpOf(row);
    if (jump === undefined || depth >= MAX_DEPTH) return undefined;
    const key = keyOf(row, jump.chain);
    let outcome = of.known.get(key);
    if (outcome === undefined) {
      of.known.set(key, 'back');
      outcome = this.#outcome(this.#rows.get(key) ?? [], of, depth + 1);
      of.known.set(key, outcome);
    }
    return outcome === 'back' && !jump.isGoto ? undefined : outcome;
  }
}

/** Result for packets that no rule of a chain decides on: its policy, if it has one. */
function endOf(chain: readonly FirewallRow[]): Outcome {
  const last = chain.at(-1);
  if (last === undefined || !isPolicy(last)) return 'back';
  return last.Action === 'Deny' ? 'deny' : 'allow';
}

/** No tool allows a line break in names of tables and chains. */
const keyOf = ({ ExtraDetails: { Origin, Family, Table } = {} }: FirewallRow, chain: string | undefined) =>
  `${Origin}\n${Family}\n${Table}\n${chain}`;
