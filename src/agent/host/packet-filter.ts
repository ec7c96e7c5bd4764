import type { FirewallRow } from '../../core/contract/firewall-row.ts';

export const HOOKS = ['input', 'forward', 'output'] as const;
export type Hook = (typeof HOOKS)[number];
export type Family = 'ip' | 'ip6';

/**
 * What happens to a new packet that no rule mentions. `none`: the packet filter has no chain for it, so it passes.
 * `unknown`: the rules could not be read in full, or a program decides.
 */
export type Direction = 'deny' | 'allow' | 'none' | 'unknown';

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

/* Which new packets from outside a rule applies to. */

/** Members of ExtraDetails that are not conditions: the rule's position, and its other actions. */
const NO_CONDITIONS = new Set([
  'Origin',
  'Family',
  'Table',
  'Target',
  'Comment',
  'Log',
  'Counter',
  'Sets',
  'Afterwards',
]);
const NFPROTO: Readonly<Record<Family, string>> = { ip: 'ipv4', ip6: 'ipv6' };
/** Protocols with ports; others, such as ICMP, open none. */
const TRANSPORTS = ['all', 'tcp', 'udp', 'sctp', 'dccp', 'udplite'];
/** Ports in a range that is broad: as many as the system ports. */
const BROAD = 1_024;
/** Networks this large are "anywhere": `2000::/3` is all of the internet in IPv6. */
const ANYWHERE_PREFIX = 3;
/** The destination is this host, as that of each packet of the hook input but multicasts: by iptables, and by nft. */
const LOCAL = /^(?:dst-type (?:\w+,)*LOCAL(?:,\w+)*|(?:\w+,)*local(?:,\w+)*)$/;
/** Interfaces to containers, virtual machines and tunnels, which have no packets from outside but by another rule. */
const VIRTUAL = /^(?:lo$|docker|br-|veth|virbr|vnet|lxc|incus|cni|cali|flannel|podman|tun|tap|wg|tailscale|zt)/;

const detail = ({ ExtraDetails }: FirewallRow, name: string): string | undefined => ExtraDetails?.[name];

const targetOf = (row: FirewallRow): string => detail(row, 'Target') ?? '';
export const isPolicy = (row: FirewallRow): boolean => targetOf(row).startsWith('policy ');

/** A program decides. */
const isQueue = (row: FirewallRow): boolean => /^(?:queue|nfqueue)\b/i.test(targetOf(row));
const isReturn = (row: FirewallRow): boolean => /^return$/i.test(targetOf(row));

/** The chain that a rule hands packets to. */
function jumpOf(row: FirewallRow): { chain: string; isGoto: boolean } | undefined {
  const target = targetOf(row);
  const isGoto = target.startsWith('goto ');
  return isGoto || target.startsWith('jump ') ? { chain: target.slice(5), isGoto } : undefined;
}

/** Whether a rule can apply to packets of a family at all. */
const isOfFamily = (row: FirewallRow, family: Family): boolean =>
  (detail(row, 'MetaNfproto') ?? NFPROTO[family]) === NFPROTO[family];

/** Whether a rule applies to every new packet from outside, or to outside. */
function isForAll(row: FirewallRow, hook: Hook): boolean {
  const { Protocol = 'all', SourceAddress, SourcePort, DestinationAddress, DestinationPort } = row;
  return (
    Protocol === 'all' &&
    SourcePort === undefined &&
    DestinationPort === undefined &&
    [SourceAddress, DestinationAddress].every((address) => address === undefined || /^[0.:]+\/0$/.test(address)) &&
    meetsOthers(row, (name, value) => isAlwaysMet(name, value, hook))
  );
}

/** Whether a rule applies to packets from anywhere outside, to any port or to a broad range of them. */
function isOpen(row: FirewallRow, hook: Hook): boolean {
  return (
    hasPorts(row.Protocol) &&
    isAnywhere(row.SourceAddress) &&
    !isMulticast(row.DestinationAddress) &&
    isBroad(row.DestinationPort) &&
    meetsOthers(row, (name, value) => isAlwaysMet(name, value, hook) || isMetByOpening(name, value, hook))
  );
}

function meetsOthers({ ExtraDetails = {} }: FirewallRow, isMet: (name: string, value: string) => boolean): boolean {
  // Not Object.entries: there can be 40,000 rules, and each is asked about several times.
  for (const name in ExtraDetails) if (!NO_CONDITIONS.has(name) && !isMet(name, ExtraDetails[name] ?? '')) return false;
  return true;
}

function isAlwaysMet(name: string, value: string, hook: Hook): boolean {
  switch (name) {
    case 'MetaNfproto':
      return true; // see isOfFamily
    case 'XtMatch':
      return value === 'comment';
    case 'CtState':
      return value.startsWith('!') !== /\bnew\b/.test(value);
    case 'InInterface':
      return hook === 'input' && value === '!lo';
    case 'OutInterface':
      return hook === 'output' && value === '!lo';
    case 'Addrtype':
    case 'FibDaddrType':
    case 'FibDaddrIifType':
      return hook === 'input' && LOCAL.test(value);
    case 'Set':
      return !/(?:^|; )!?@/.test(value); // sets a mark, and is not what iptables calls a match with a set
    case 'Add':
    case 'Update':
    case 'Delete':
      return !/ (?:limit|quota|ct count) /.test(value); // the set counts packets, and is not a limit for each element
    default:
      return false;
  }
}

/** Conditions that keep no attacker out, though they do not hold for every packet. */
function isMetByOpening(name: string, value: string, hook: Hook): boolean {
  if (name === 'TcpFlags') return value.startsWith('syn/'); // what opens a connection
  if (name !== 'InInterface' || hook !== 'input') return false;
  // All interfaces except virtual ones belong to the network.
  if (value.startsWith('!')) return value.split(',').every((each) => VIRTUAL.test(each.replace('!', '')));
  return value.split(',').some((each) => !each.startsWith('@') && !VIRTUAL.test(each));
}

/** A negated list has ports unless it has all transports. */
const hasPorts = (protocol = 'all'): boolean =>
  protocol.startsWith('!') || protocol.split(',').some((each) => TRANSPORTS.includes(each));

function isAnywhere(address: string | undefined): boolean {
  if (address === undefined || address.startsWith('!')) return true;
  return address.split(',').some((each) => Number(/\/(\d+)$/.exec(each)?.[1] ?? 128) <= ANYWHERE_PREFIX);
}

/** Every destination is within multicast and broadcast, which no service for others listens at. */
const isMulticast = (address: string | undefined): boolean =>
  address?.split(',').every((each) => /^(?:2(?:2[4-9]|3\d)\.|255\.255\.255\.255|ff)/i.test(each)) === true;

function isBroad(ports: string | undefined): boolean {
  if (ports === undefined || ports.startsWith('!')) return true;
  let count = 0;
  for (const each of ports.split(',')) {
    const [, first, last = first] = /^(\d{1,5})(?:[-:](\d{1,5}))?$/.exec(each) ?? [];
    if (first !== undefined) count += Math.max(0, Number(last) - Number(first) + 1);
  }
  return count >= BROAD;
}
