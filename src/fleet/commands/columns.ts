import { counted } from '../../core/base/text.ts';
import { isPlainObject } from '../../core/base/values.ts';
import { ALERT_LEVELS } from '../../core/contract/event.ts';
import type { Row } from '../service.ts';

/** A column of `vakt fleet status`. */
export interface Column {
  readonly name: string;
  /** The cell, made from members of `FIELDS`. */
  readonly show: (row: Row) => string;
}

export const AGENT = 'properties.reported.securityAgent';

/** Queried columns, keyed by name: a few members only, since a whole status has up to 32 KB. */
const FIELDS = {
  deviceId: 'deviceId',
  connection: 'connectionState',
  state: `${AGENT}.state`,
  version: `${AGENT}.version`,
  lastMessage: `${AGENT}.delivery.lastSentAt`,
  source: `${AGENT}.collectors.ProcessCreate.source`,
  errors: `${AGENT}.configuration.errors`,
  switchedOff: `${AGENT}.configuration.switchedOff`,
  lastError: `${AGENT}.delivery.lastError`,
  alerts: `${AGENT}.detections.alerts`,
  failed: `${AGENT}.posture.baseline.failed`,
  recommendations: `${AGENT}.posture.recommendations`,
} as const;

/** Columns to select. @param more paths of further ones, keyed by name */
export const statusColumns = (more: Readonly<Record<string, string>> = {}): string =>
  Object.entries({ ...FIELDS, ...more })
    .map(([name, path]) => (name === path ? path : `${path} AS ${name}`))
    .join(', ');

const text = (value: unknown): string => (typeof value === 'string' || typeof value === 'number' ? String(value) : '');

export const COLUMNS: readonly Column[] = [
  { name: 'DEVICE', show: ({ deviceId }) => text(deviceId) },
  { name: 'STATE', show: (row) => stateOf(row) },
  { name: 'VERSION', show: ({ version }) => text(version) },
  { name: 'LAST MESSAGE', show: ({ lastMessage }) => text(lastMessage) },
  { name: 'STARTS BY', show: ({ source }) => text(source) },
  { name: 'ALERTS', show: ({ alerts }) => alertsIn(alerts) },
  { name: 'POSTURE', show: (row) => postureOf(row) },
  { name: 'FAULTS', show: (row) => faultsOf(row) },
];

/** The state that the agent reported, and whether it is connected. */
export function stateOf({ state, connection }: Row): string {
  if (typeof state !== 'string') return 'never reported';
  return connection === 'Disconnected' ? `${state}, disconnected` : state;
}

/** `2 high, 5 medium`, the most severe first. */
function alertsIn(alerts: unknown): string {
  if (!isPlainObject(alerts)) return '';
  return ALERT_LEVELS.toReversed()
    .filter((level) => Number(alerts[level]) > 0)
    .map((level) => `${alerts[level]} ${level}`)
    .join(', ');
}

function postureOf({ failed, recommendations }: Row): string {
  const parts: string[] = [];
  if (typeof failed === 'number') parts.push(counted(failed, 'rule fails', 'rules fail'));
  const count = isPlainObject(recommendations) ? Object.keys(recommendations).length : 0;
  if (count > 0) parts.push(`${count} recommended`);
  return parts.join(', ');
}

function faultsOf({ errors, switchedOff, lastError }: Row): string {
  const refused = isPlainObject(errors) ? Object.keys(errors) : [];
  const off = isPlainObject(switchedOff) ? Object.keys(switchedOff) : [];
  return [
    ...(refused.length === 0 ? [] : [`refuses ${refused.join(', ')}`]),
    ...(off.length === 0 ? [] : [`off: ${off.join(', ')}`]),
    ...(typeof lastError === 'string' ? [lastError] : []),
  ].join('; ');
}
