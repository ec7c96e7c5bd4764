import type { Payload } from '../../../core/contract/event.ts';
import type { Fields, LogSource, Subject } from '../subject.ts';
import { allFields } from './rows.ts';

/** Time and event of a change. */
export interface Observation {
  readonly event: string;
  readonly at: Date;
  /** Ids of the events that show the change, if known. */
  readonly ids?: readonly string[];
}

/** A difference between two snapshots, or a change of the agent itself. */
export const change = (source: LogSource, fields: Fields, { event, at, ids = [] }: Observation): Subject => ({
  source,
  time: at.getTime(),
  fields,
  views: [],
  event: { name: event, ids, payload: payloadOf(fields) },
});

/** The kinds of difference, field `Change`. */
export type Difference = 'added' | 'removed' | 'modified' | 'group_added' | 'group_removed';

/** Names of `fields` with a prefix: `Before.UserId`. */
const prefixed = (prefix: string, fields: Fields): Fields =>
  Object.fromEntries(Object.entries(fields).map(([name, value]) => [`${prefix}.${name}`, value]));

export const added = (after: Fields): Fields => ({ Change: 'added', ...after, ...prefixed('After', after) });

export const removed = (before: Fields): Fields => ({ Change: 'removed', ...before, ...prefixed('Before', before) });

/** @param more fields of this kind of change, which take precedence over the row's own */
export const modified = (before: Fields, after: Fields, more: Fields = {}): Fields => ({
  Change: 'modified' satisfies Difference,
  ...after,
  Changed: changedNames(before, after).join(';'),
  ...prefixed('Before', before),
  ...prefixed('After', after),
  ...more,
});

const changedNames = (before: Fields, after: Fields): string[] =>
  [...new Set([...Object.keys(before), ...Object.keys(after)])].filter((name) => before[name] !== after[name]);

/** The payload for an alert about a change: its fields except `After.*`, which are duplicates. */
const payloadOf = (fields: Fields): Payload =>
  Object.fromEntries(Object.entries(fields).filter(([name]) => !name.startsWith('After.')));

/** Events about the agent itself that rules can match; `CollectorStatus` and `AuditFlooded` are not sent. */
const AGENT_EVENTS = ['ConfigurationError', 'CollectorStatus', 'AuditFlooded'];

/** The subject for rules of the source `agent`: the event's fields, and its name as `Event`. */
export function agentChanges(payload: readonly Payload[], observation: Observation): Subject[] {
  return AGENT_EVENTS.includes(observation.event) ? payload.map((row) => agentChange(allFields(row), observation)) : [];
}

export const agentChange = (fields: Fields, observation: Observation): Subject =>
  change('agent', { Event: observation.event, ...fields }, observation);
