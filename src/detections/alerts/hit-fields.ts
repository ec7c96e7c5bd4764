import { ownerOf } from '../../contract/owner.ts';
import { readField } from '../read-field.ts';
import type { Hit, LogSource } from '../subject.ts';

/** The values of a field: of the view that matched, of the event, and of its message. */
export function valuesOf({ subject, view }: Hit, field: string): readonly string[] {
  const { payload } = subject.event;
  const details = (payload.ExtraDetails ?? {}) as Record<string, unknown>;
  const own = (object: object, name: string): unknown =>
    Object.hasOwn(object, name) ? (object as Record<string, unknown>)[name] : undefined;
  const read = [view, undefined].map((each) => readField(subject, each, field));
  const all = [...read, own(payload, field), own(details, field)];
  return all.flatMap((value) => (typeof value === 'string' || typeof value === 'number' ? [String(value)] : []));
}

/** Fields by which hits of one rule are the same unless the rule says otherwise: who, by what, from or to where. */
const KEYS: Readonly<Partial<Record<LogSource, readonly string[]>>> = {
  login: ['User', 'UserName', 'SourceIp', 'RemoteAddress'],
  listening_port_change: ['Change', 'Protocol', 'LocalAddress', 'LocalPort'],
  local_user_change: ['Change', 'UserName', 'Group'],
  firewall_change: ['Change', 'Kind', 'Family', 'Table', 'ChainName', 'Direction', 'Action'],
  hardware_change: ['Change', 'HardwareName', 'Serial'],
  baseline_change: ['Change', 'CceId'],
  agent: ['Event', 'Collector', 'ConfigurationName'],
};
const DEFAULT_KEY = ['User', 'UserName', 'UserId', 'Image', 'DestinationIp', 'RemoteAddress', 'TargetFilename'];

/** In UTF-16 units. */
const LONGEST_PART = 512;

/** What makes hits of one rule the same alert. */
export function keyOf(hit: Hit): string {
  const names = hit.rule.key ?? KEYS[hit.subject.source] ?? DEFAULT_KEY;
  return JSON.stringify(names.map((name) => valuesOf(hit, name)[0]?.slice(0, LONGEST_PART) ?? ''));
}

/** Whose doing it is; empty if that is unknown. */
export const userOf = (hit: Hit): string => ownerOf((name) => valuesOf(hit, name)[0], ['UserName', 'User']) ?? '';
