import type { Payload } from '../../contract/event.ts';
import {
  type Family,
  type FirewallRow,
  type Hook,
  isForAll,
  isOfFamily,
  isOpen,
  isPolicy,
  jumpOf,
  targetOf,
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

/** @param hasIpv6 whether IPv6 is in use; without it, that nothing filters it is no risk */
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

/** Whoever is denied one family takes the other. `none` only if nothing is filtered at all. */
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
    const verdicts = this.bases(hook, family).map((chain) => this.#verdict(chain, { hook, family }, new Map(), 0));
    if (verdicts.length === 0) return 'none';
    if (verdicts.includes('deny')) return 'deny';
    return verdicts.includes('unknown') ? 'unknown' : 'allow';
  }

  permissive(hook: Hook, family: Family): Set<FirewallRow> {
    const found = new Set<FirewallRow>();
    const seen = new Set<string>();
    const waiting = this.bases(hook, family).map(([first]) =>
      first === undefined ? '' : keyOf(first, first.ChainName),
    );
    for (let key = waiting.pop(); key !== undefined; key = waiting.pop()) {
      if (seen.has(key)) continue;
      seen.add(key);
      for (const row of this.#rows.get(key) ?? []) {
        if (isPolicy(row) || !isOfFamily(row, family)) continue;
        if (row.Action === 'Deny' && isForAll(row, hook)) break; // what follows is never reached
        if (!isOpen(row, hook)) continue;
        const jump = jumpOf(row);
        if (row.Action === 'Allow') found.add(row);
        else if (jump !== undefined) waiting.push(keyOf(row, jump.chain));
      }
    }
    return found;
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

  /**
   * What the first rule that applies to every packet says, else the policy. A rule that hands every packet to another
   * chain counts as the rules of that chain.
   *
   * @returns `undefined` if a chain without a policy hands packets back
   */
  #verdict(
    chain: readonly FirewallRow[],
    of: { hook: Hook; family: Family },
    known: Map<string, Verdict | undefined>,
    depth: number,
  ): Verdict | undefined {
    const policy = chain.at(-1);
    const otherwise =
      policy !== undefined && isPolicy(policy) ? (policy.Action === 'Deny' ? 'deny' : 'allow') : undefined;
    for (const row of chain) {
      if (isPolicy(row) || !isOfFamily(row, of.family) || !isForAll(row, of.hook)) continue;
      if (row.Action === 'Deny') return 'deny';
      if (row.Action === 'Allow') return 'allow';
      const target = targetOf(row);
      if (/^(?:queue|nfqueue)\b/i.test(target)) return 'unknown'; // a program decides
      if (/^return$/i.test(target)) return otherwise;
      const jump = jumpOf(row);
      if (jump === undefined || depth >= MAX_DEPTH) continue;
      const key = keyOf(row, jump.chain);
      if (!known.has(key)) {
        known.set(key, undefined);
        known.set(key, this.#verdict(this.#rows.get(key) ?? [], of, known, depth + 1));
      }
      const verdict = known.get(key);
      if (verdict !== undefined) return verdict;
      if (jump.isGoto) return otherwise;
    }
    return otherwise;
  }
}

/** The names are those of tables and chains, in which no tool allows a line break. */
const keyOf = ({ ExtraDetails: { Origin, Family, Table } = {} }: FirewallRow, chain: string | undefined) =>
  `${Origin}\n${Family}\n${Table}\n${chain}`;
