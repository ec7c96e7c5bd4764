/* Groups of events for colours: a chart with one colour for each of 16 kinds could not be read. */

export const GROUPS = [
  { id: 'alert', title: 'Alerts' },
  { id: 'start', title: 'Program starts' },
  { id: 'end', title: 'Program ends' },
  { id: 'connection', title: 'Connections' },
  { id: 'login', title: 'Logins' },
  { id: 'snapshot', title: 'Snapshots' },
  { id: 'agent', title: 'The agent itself' },
  { id: 'other', title: 'Others' },
] as const;

export type GroupId = (typeof GROUPS)[number]['id'];

const GROUP_OF = new Map<string, GroupId>([
  ['SecurityAlert', 'alert'],
  ['ProcessCreate', 'start'],
  ['ProcessTerminate', 'end'],
  ['ConnectionCreate', 'connection'],
  ['Login', 'login'],
  ['ListeningPorts', 'snapshot'],
  ['LocalUsers', 'snapshot'],
  ['FirewallConfiguration', 'snapshot'],
  ['SystemInformation', 'snapshot'],
  ['ConnectedHardware', 'snapshot'],
  ['OSBaseline', 'snapshot'],
  ['Diagnostic', 'agent'],
  ['ConfigurationError', 'agent'],
  ['DroppedEventsStatistics', 'agent'],
  ['MessageStatistics', 'agent'],
]);

export const groupOf = (event: string): GroupId => GROUP_OF.get(event) ?? 'other';
