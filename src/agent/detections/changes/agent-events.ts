import type { Payload } from '../../../core/contract/event.ts';
import type { Fields, Subject } from '../subject.ts';
import { change, type Observation } from './change.ts';
import { allFields } from './row-fields.ts';

/** Events about the agent itself that rules can match; `CollectorStatus` and `AuditFlooded` are not sent. */
const AGENT_EVENTS = ['ConfigurationError', 'CollectorStatus', 'AuditFlooded'];

/** The subject for rules of the source `agent`: the event's fields, and its name as `Event`. */
export function agentChanges(payload: readonly Payload[], observation: Observation): Subject[] {
  return AGENT_EVENTS.includes(observation.event) ? payload.map((row) => agentChange(allFields(row), observation)) : [];
}

export const agentChange = (fields: Fields, observation: Observation): Subject =>
  change('agent', { Event: observation.event, ...fields }, observation);
