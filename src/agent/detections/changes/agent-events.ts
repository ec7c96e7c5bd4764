import type { Payload } from '../../../core/contract/event.ts';
import type { Fields, Subject } from '../subject.ts';
import { change, type Seen } from './change.ts';
import { allFields } from './row-fields.ts';

/** Events about the agent itself that rules can match; `CollectorStatus` and `AuditFlooded` are not sent. */
const AGENT_EVENTS = ['ConfigurationError', 'CollectorStatus', 'AuditFlooded'];

/** The subject for rules of the source `agent`: the event's fields, and its name as `Event`. */
export function agentChanges(payload: readonly Payload[], seen: Seen): Subject[] {
  return AGENT_EVENTS.includes(seen.event) ? payload.map((row) => agentChange(allFields(row), seen)) : [];
}

export const agentChange = (fields: Fields, seen: Seen): Subject =>
  change('agent', { Event: seen.event, ...fields }, seen);
