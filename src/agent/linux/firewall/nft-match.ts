import { isCount } from '../../../core/base/values.ts';
import { ExpressionWriter, get, onlyProperty } from './nft-expression.ts';
import type { RuleDraft } from './rule-draft.ts';
import { protocolName } from './vocabulary.ts';

/* The two sides of nft's comparisons, and the fields of the contract that they belong to. */

/** The state while a rule is read. */
export interface Context {
  readonly draft: RuleDraft;
  /** Names of the sets and maps that the rule uses. */
  readonly mentioned: Set<string>;
}

/** An expression as text. */
export function written(
  { mentioned }: Context,
  expression: unknown,
  leaf?: (value: string | number) => string,
): string {
  const writer = new ExpressionWriter(leaf);
  const text = writer.write(expression);
  for (const name of writer.mentioned) mentioned.add(name);
  return text;
}

const TRANSPORTS = ['tcp', 'udp', 'sctp', 'dccp', 'udplite', 'th'];

/** nft's names for which the contract or iptables has another one. */
const SUBJECTS: ReadonlyMap<string, string> = new Map([
  ...['ip', 'ip6'].flatMap((family): [string, string][] => [
    [`${family} saddr`, 'source address'],
    [`${family} daddr`, 'destination address'],
  ]),
  ...TRANSPORTS.flatMap((transport): [string, string][] => [
    [`${transport} sport`, 'source port'],
    [`${transport} dport`, 'destination port'],
  ]),
  ['ip protocol', 'protocol'],
  ['ip6 nexthdr', 'protocol'],
  ['meta l4proto', 'protocol'],
  ['meta iif', 'in-interface'],
  ['meta iifname', 'in-interface'],
  ['meta oif', 'out-interface'],
  ['meta oifname', 'out-interface'],
  ['meta mark', 'mark'],
]);

/** Headers that exist only in packets of that protocol. */
const PROTOCOL_OF: ReadonlyMap<string, string> = new Map([
  ...['tcp', 'udp', 'sctp', 'dccp', 'udplite', 'icmp', 'igmp', 'ah', 'esp', 'gre'].map((name): [string, string] => [
    name,
    name,
  ]),
  ['icmpv6', 'ipv6-icmp'],
  ['comp', 'ipcomp'],
]);

/** Bit sets, where `==` means exactly these bits and no operator means any of them. */
const FLAGS = ['tcp flags', 'ct status'];

interface Subject {
  match(operator: string, right: unknown): void;
}

/** The left side of a comparison. */
export function subjectOf(left: unknown, context: Context): Subject {
  const { draft } = context;
  const masked = get(left, '&');
  const [whole, mask] = Array.isArray(masked) && masked.length === 2 ? masked : [left, undefined];
  const text = written(context, whole);
  const name = SUBJECTS.get(text) ?? text;
  const leaf = leafOf(name);
  imply(whole, draft);
  return {
    match(operator, right) {
      const value = written(context, right, leaf);
      const text = mask === undefined ? value : `${value}/${written(context, mask, leaf)}`;
      draft.match(name, compared(name, operator, text, mask === undefined));
    },
  };
}

/** Marks are written as by iptables. */
const hex = (value: string | number) => (isCount(value) ? `0x${value.toString(16)}` : String(value));

/** How names and numbers are written, by what they are compared with. */
const LEAVES: ReadonlyMap<string, (value: string | number) => string> = new Map([
  ['mark', hex],
  ['meta mark', hex],
  ['ct mark', hex],
  ['protocol', (value: string | number) => protocolName(String(value))],
]);
export const leafOf = (subject: string) => LEAVES.get(subject);

function imply(expression: unknown, draft: RuleDraft): void {
  const parts = get(expression, 'concat');
  for (const part of Array.isArray(parts) ? parts : [expression]) {
    const { name, value } = onlyProperty(part) ?? {};
    const header =
      name === 'payload' && get(value, 'tunnel') === undefined
        ? get(value, 'protocol')
        : name?.match(/^(\w+) (?:option|chunk)$/)?.[1];
    const protocol = typeof header === 'string' ? PROTOCOL_OF.get(header) : undefined;
    if (protocol !== undefined) draft.implyProtocol(protocol);
  }
}

/** The right side as in iptables and the contract: `!` for negation, an open port range with both ends. */
function compared(name: string, operator: string, text: string, unmasked: boolean): string {
  if (FLAGS.includes(name) && unmasked && (operator === '==' || operator === '!=')) return `${operator} ${text}`;
  switch (operator) {
    case '==':
    case 'in':
      return text;
    case '!=':
    case '!':
      return `!${text}`;
    default:
      return (name.endsWith(' port') && portRange(operator, text)) || `${operator}${text}`;
  }
}

/** `>= 1024` becomes `1024-65535`. */
function portRange(operator: string, text: string): string | undefined {
  const bound = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  const low = { '<': 0, '<=': 0, '>': bound + 1, '>=': bound }[operator] ?? Number.NaN;
  const high = { '<': bound - 1, '<=': bound, '>': 65_535, '>=': 65_535 }[operator] ?? Number.NaN;
  return low <= high && high <= 65_535 ? `${low}-${high}` : undefined;
}
