/* One rule of the packet filter, as a row of FirewallConfiguration shows it: which new packets from outside it applies to. */

/** A row of FirewallConfiguration, with the members that are evaluated. */
export interface FirewallRow {
  readonly Enabled: boolean;
  readonly Action: 'Allow' | 'Deny' | 'Other';
  readonly ChainName?: string;
  readonly SourceAddress?: string;
  readonly SourcePort?: string;
  readonly DestinationAddress?: string;
  readonly DestinationPort?: string;
  readonly Protocol?: string;
  readonly ExtraDetails?: Readonly<Record<string, string>>;
}

export const HOOKS = ['input', 'forward', 'output'] as const;
export type Hook = (typeof HOOKS)[number];
export type Family = 'ip' | 'ip6';

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
export const isQueue = (row: FirewallRow): boolean => /^(?:queue|nfqueue)\b/i.test(targetOf(row));
export const isReturn = (row: FirewallRow): boolean => /^return$/i.test(targetOf(row));

/** The chain that a rule hands packets to. */
export function jumpOf(row: FirewallRow): { chain: string; isGoto: boolean } | undefined {
  const target = targetOf(row);
  const isGoto = target.startsWith('goto ');
  return isGoto || target.startsWith('jump ') ? { chain: target.slice(5), isGoto } : undefined;
}

/** Whether a rule can apply to packets of a family at all. */
export const isOfFamily = (row: FirewallRow, family: Family): boolean =>
  (detail(row, 'MetaNfproto') ?? NFPROTO[family]) === NFPROTO[family];

/** Whether a rule applies to every new packet from outside, or to outside. */
export function isForAll(row: FirewallRow, hook: Hook): boolean {
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
export function isOpen(row: FirewallRow, hook: Hook): boolean {
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
