import { ownerOf } from '../../../core/contract/owner.ts';
import { readField } from '../read-field.ts';
import type { Hit, LogSource } from '../subject.ts';

/** Values of a field: of the matching view, of the event, and of its payload. */
export function valuesOf({ subject, view }: Hit, field: string): readonly string[] {
  const { payload } = subject.event;
  const details = (payload.ExtraDetails ?? {}) as Record<string, unknown>;
  const own = (object: object, name: string): unknown =>
    Object.hasOwn(object, name) ? (object as Record<string, unknown>)[name] : undefined;
  const read = [view, undefined].map((each) => readField(subject, each, field));
  const all = [...read, own(payload, field), own(details, field)];
  return all.flatMap((value) => (typeof value === 'string' || typeof value === 'number' ? [String(value)] : []));
}

const WHO = ['User', 'UserName', 'UserId'];
/** Fields that make hits of one rule equal unless the rule lists its own: the user and the target. */
const KEYS: Readonly<Partial<Record<LogSource, readonly string[]>>> = {
  login: ['User', 'UserName', 'SourceIp', 'RemoteAddress'],
  listening_port_change: ['Change', 'Protocol', 'LocalAddress', 'LocalPort'],
  local_user_change: ['Change', 'UserName', 'Group'],
  firewall_change: ['Change', 'Kind', 'Family', 'Table', 'ChainName', 'Direction', 'Action'],
  hardware_change: ['Change', 'HardwareName', 'Serial'],
  baseline_change: ['Change', 'CceId'],
  agent: ['Event', 'Collector', 'ConfigurationName'],
};
const DEFAULT_KEY = [...WHO, 'Image', 'DestinationIp', 'RemoteAddress', 'TargetFilename', 'Path', 'Kind', 'Subject'];

/** In UTF-16 units. */
const LONGEST_PART = 512;
const LONGEST_LINE = 16_384;

/**
 * Hits of one rule with the same key are one alert. The key consists of the fields that the rule lists, otherwise of the group of
 * a correlation, otherwise of the selection and the target. The target of a start is the command line of the matching view.
 */
export function keyOf(hit: Hit): string {
  const { rule, subject, selections = [], group = [] } = hit;
  const values = (names: readonly string[]) =>
    names.map((name) => valuesOf(hit, name)[0]?.slice(0, LONGEST_PART) ?? '');
  if (rule.key !== undefined) return JSON.stringify(values(rule.key));
  const shared = group.filter(({ name }) => !name.endsWith('ProcessId')).map(({ value }) => value);
  if (shared.length > 0) return JSON.stringify(shared);
  const own = KEYS[subject.source];
  if (own !== undefined) return JSON.stringify([...selections, ...values(own)]);
  if (subject.source !== 'process_creation' || group.length > 0)
    return JSON.stringify([...selections, ...values(DEFAULT_KEY)]);
  const line = valuesOf(hit, 'CommandLine')[0] ?? '';
  const target = line.slice(0, LONGEST_LINE).replace(/\s+/g, ' ');
  return JSON.stringify([...selections, ...values(WHO), target === '' ? values(['Image']) : target]);
}

/** The user whose limits apply to a hit. Events without a user have limits per source. */
export const userOf = (hit: Hit): string => ownerOf((name) => valuesOf(hit, name)[0]) ?? `Source ${hit.subject.source}`;

/** The user in readable form: `user 1000`. */
export function userText(user: string): string {
  const [kind = '', ...rest] = user.split(' ');
  const name = rest.join(' ');
  if (kind === 'ContainerId') return `container ${name}`;
  if (!kind.endsWith('UserId')) return `no user (${name})`;
  return name.startsWith('-') ? `user block ${name.slice(1)}` : `user ${name}`;
}
