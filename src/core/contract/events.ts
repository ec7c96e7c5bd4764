import type { EventType, Priority } from './event.ts';

/** The part of an event's declaration that does not depend on its collector. */
export interface EventRow {
  /** Its name on the wire. */
  readonly name: string;
  readonly type: EventType;
  /** Applies until the module twin sets another one. */
  readonly priority: Exclude<Priority, 'Off'>;
  /** Whether equal occurrences can be counted instead of listed. */
  readonly isAggregated?: true;
}

/** Every event that the agent can send, in the order of the documentation. Its fields are declared by its collector. */
export const EVENTS = {
  ProcessCreate: { name: 'ProcessCreate', type: 'Security', priority: 'Low', isAggregated: true },
  ProcessTerminate: { name: 'ProcessTerminate', type: 'Security', priority: 'Low', isAggregated: true },
  ConnectionCreate: { name: 'ConnectionCreate', type: 'Security', priority: 'Low', isAggregated: true },
  Login: { name: 'Login', type: 'Security', priority: 'High' },
  ListeningPorts: { name: 'ListeningPorts', type: 'Security', priority: 'High' },
  LocalUsers: { name: 'LocalUsers', type: 'Security', priority: 'High' },
  FirewallConfiguration: { name: 'FirewallConfiguration', type: 'Security', priority: 'Low' },
  SystemInformation: { name: 'SystemInformation', type: 'Security', priority: 'Low' },
  ConnectedHardware: { name: 'ConnectedHardware', type: 'Security', priority: 'Low' },
  OSBaseline: { name: 'OSBaseline', type: 'Security', priority: 'Low' },
  Diagnostic: { name: 'Diagnostic', type: 'Diagnostic', priority: 'Low' },
  ConfigurationError: { name: 'ConfigurationError', type: 'Operational', priority: 'Low' },
  DroppedEventsStatistics: { name: 'DroppedEventsStatistics', type: 'Operational', priority: 'Low' },
  MessageStatistics: { name: 'MessageStatistics', type: 'Operational', priority: 'Low' },
  SecurityAlert: { name: 'SecurityAlert', type: 'Security', priority: 'High' },
} as const satisfies Readonly<Record<string, EventRow>>;
