import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { recordedAncestors } from './recorded-facts.ts';

/** Fields of a payload as a case writes them; a list gives the values of successive repetitions, over and over. */
type Written = Readonly<Record<string, unknown>>;

/** A case of `test/agent/detections/unseen/*.jsonl`, one per line. */
export interface UnseenCase {
  /** The alert that must be raised, or that the events look like without being it. */
  readonly alert: string;
  /** Other alerts that name the attack as well. */
  readonly or?: readonly string[];
  readonly name: string;
  /** A plain attack, one that evades a plain rule, or daily work that looks like an attack. */
  readonly kind: 'plain' | 'evasion' | 'daily';
  readonly expect: boolean;
  readonly why: string;
  /** `event` is the event's name, `after` the seconds since the event before, `times` how often it is repeated. */
  readonly events: readonly Written[];
}

/** An event in the form that `vakt rules test --cases` reads. */
export interface CaseEvent {
  readonly Name: string;
  readonly Payload: readonly Written[];
}

/** A file for `vakt rules test --cases`. */
export interface CasesFile {
  readonly lists: Readonly<Record<string, readonly (string | number)[]>>;
  readonly listBound: readonly string[];
  readonly cases: readonly { case: string; alert: string; expect: boolean; events: readonly CaseEvent[] }[];
  readonly benign: readonly CaseEvent[];
}

/** Values of the twin's lists, for the rules that are off without one. */
const LISTS = {
  badAddresses: ['203.0.113.66', '198.51.100.128/25', '2001:db8:bad::/48'],
  allowedRemotes: ['192.168.0.0/16', '20.0.0.0/8', 'fd00::/8'],
  allowedUsers: ['gateway', 'backup'],
  allowedProcesses: ['/usr/*', '/bin/*', '/sbin/*', '/lib/*', '/opt/gw/*'],
  connectionsMax: [300],
  failedLocalLoginsMax: [5],
  allowedPorts: ['22', '1883'],
};

/** Alerts that depend on a list, so that they say nothing about a case of another alert. */
export const LIST_BOUND: readonly string[] = [
  'IoT_TiConnection',
  'VAKT_OutboundNotAllowed',
  'VAKT_LoginUserNotAllowed',
  'VAKT_ProcessNotAllowed',
  'VAKT_ConnectionsOutOfRange',
  'VAKT_FailedLocalLoginsOutOfRange',
  'VAKT_NewListeningPort',
];

const USER_NAMES: Readonly<Record<string, string>> = { 0: 'root', 33: 'www-data', 1000: 'gateway' };

const EPOCH = Date.parse('2026-10-05T06:00:00Z');

/** All unseen cases, in the order of the files. */
export const unseenCases = (): UnseenCase[] => casesOf('test/agent/detections/unseen');

/** The cases that the rules were written with. Each file is named after its alert. */
export const ruleCases = (): UnseenCase[] => casesOf('test/agent/detections/cases');

function casesOf(folder: string): UnseenCase[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.jsonl'))
    .sort()
    .flatMap((name) =>
      readFileSync(join(folder, name), 'utf8')
        .trimEnd()
        .split('\n')
        .map((line) => ({ alert: name.replace('.jsonl', ''), ...JSON.parse(line) }) as UnseenCase),
    );
}

/** The id of a case in the answers of `vakt rules test`. */
export const idOf = ({ alert, name }: UnseenCase): string => `${alert}: ${name}`;

/** @param benign recorded process starts */
export function casesFile(cases: readonly UnseenCase[], benign: readonly Written[] = []): CasesFile {
  return {
    lists: LISTS,
    listBound: LIST_BOUND,
    cases: cases.map((one) => ({
      case: idOf(one),
      alert: one.alert,
      expect: one.expect,
      events: eventsOf(one.expect ? one.events : one.events.map(withAncestors)),
    })),
    benign: benign.flatMap((start) => eventsOf([withAncestors({ event: 'ProcessCreate', ...start })])),
  };
}

/** Attacks have none: they only look like a trusted actor's work. */
function withAncestors(start: Written): Written {
  const Ancestors = recordedAncestors(start);
  return start.event !== 'ProcessCreate' || Ancestors.length === 0 ? start : { ...start, Ancestors };
}

function eventsOf(written: readonly Written[]): CaseEvent[] {
  let time = EPOCH;
  let processId = 2_000;
  return written.flatMap(({ event, after = 0, times = 1, ...fields }) =>
    Array.from({ length: Number(times) }, (_, index) => {
      time += Number(after) * 1_000;
      processId++;
      return eventOf(String(event), repetition(fields, index), time, processId);
    }),
  );
}

/** The fields of one repetition: for a list of strings, one of them, `Payload` is a list of rows. */
const repetition = (fields: Written, index: number): Written =>
  Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [
      key,
      Array.isArray(value) && key !== 'Payload' && key !== 'Ancestors' ? value[index % value.length] : value,
    ]),
  );

function eventOf(name: string, fields: Written, time: number, processId: number): CaseEvent {
  const at = new Date(time).toISOString();
  if (name === 'agent') {
    return { Name: 'CollectorStatus', internal: true, TimestampUTC: at, Payload: [fields] } as CaseEvent;
  }
  const periodic = fields.Payload !== undefined;
  const envelope = {
    Id: `00000000-0000-4000-8000-${String(processId).padStart(12, '0')}`,
    TimestampLocal: at.replace('Z', '+00:00'),
    TimestampUTC: at,
    Category: periodic ? 'Periodic' : 'Triggered',
    Name: name,
    EventType: name === 'ConfigurationError' ? 'Operational' : 'Security',
    IsEmpty: false,
    PayloadSchemaVersion: '1.0',
  };
  return { ...envelope, Payload: periodic ? (fields.Payload as Written[]) : [payloadOf(name, fields, processId)] };
}

function payloadOf(name: string, fields: Written, processId: number): Written {
  if (name === 'ConfigurationError') return fields;
  if (name !== 'ProcessCreate') return { ProcessId: processId, ...fields };
  const { CurrentDirectory, UserId = '0', workload: _, ...start } = fields;
  const UserName = USER_NAMES[String(UserId)];
  return {
    ...start,
    ProcessId: processId,
    ParentProcessId: 900,
    UserId,
    ...(UserName && { UserName }),
    ...(CurrentDirectory !== undefined && { ExtraDetails: { CurrentDirectory } }),
  };
}
