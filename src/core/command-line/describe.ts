import { printable } from '../base/text.ts';
import { isPlainObject } from '../base/values.ts';
import type { Envelope, PartDetails, Payload } from '../contract/event.ts';

/* Formats events for people: for the demo, its page, and dry runs. */

/** Elements shown of one event; of the others, only the number is shown. */
const MAX_SHOWN = 8;

const text = (value: unknown) => (value === undefined ? '' : String(value));
const cut = (value: unknown, maxLength = 90) =>
  text(value).length > maxLength ? `${text(value).slice(0, maxLength - 1)}…` : text(value);

const times = (count: string) => (count === '1' ? 'once' : `${count} times`);

/** Formats an element of each event; events that are not listed are shown field by field. */
const SENTENCES: Readonly<Record<string, (payload: Payload, extra: Readonly<Record<string, string>>) => string>> = {
  ProcessCreate: ({ CommandLine, Executable, UserName, UserId, ProcessId }, { HitCount }) =>
    `${text(UserName ?? UserId)} ran ${cut(CommandLine)}  [${text(Executable)}, ${HitCount === undefined ? `pid ${ProcessId}` : times(HitCount)}]`,
  ProcessTerminate: ({ Executable, ExitStatus, ProcessId }, { HitCount, Signal }) =>
    `${text(Executable)} ended with ${text(ExitStatus)}${Signal === undefined ? '' : `, by ${Signal}`}  [${HitCount === undefined ? `pid ${ProcessId}` : times(HitCount)}]`,
  ConnectionCreate: ({ Executable, Direction, Protocol, RemoteAddress, RemotePort, LocalPort }, { HitCount }) =>
    Direction === 'In'
      ? `${text(Executable)} accepted ${text(Protocol)} from ${text(RemoteAddress)}${LocalPort === undefined ? '' : ` at port ${LocalPort}`}${HitCount === undefined ? '' : `  [${times(HitCount)}]`}`
      : `${text(Executable)} connected by ${text(Protocol)} to ${text(RemoteAddress)} port ${text(RemotePort)}${HitCount === undefined ? '' : `  [${times(HitCount)}]`}`,
  Login: ({ UserName, UserId, Operation, Result, RemoteAddress, Executable }, { ContainerId }) =>
    `${text(Operation)} of ${text(UserName ?? UserId)}: ${text(Result)}${RemoteAddress === undefined ? '' : `, from ${RemoteAddress}`}  [${text(Executable)}${ContainerId === undefined ? '' : ` in container ${cut(ContainerId, 13)}`}]`,
  ListeningPorts: ({ Protocol, LocalAddress, LocalPort }, { Executable, Pid }) =>
    `${text(Protocol)} ${text(LocalAddress)} port ${text(LocalPort)}${Pid === undefined ? '' : `  [${text(Executable)}, pid ${Pid}]`}`,
  LocalUsers: ({ UserName, UserId, GroupNames }) => `${text(UserName)} (${text(UserId)}) in ${cut(GroupNames, 60)}`,
  FirewallConfiguration: (
    { ChainName, Action, Protocol, SourceAddress, DestinationPort, Enabled },
    { Target, Table },
  ) =>
    [
      `${text(Table)} ${text(ChainName)}:`.trim(),
      text(Action),
      ...(Target === undefined ? [] : [`(${cut(Target, 40)})`]),
      ...(Protocol === undefined ? [] : [text(Protocol)]),
      ...(SourceAddress === undefined ? [] : [`from ${cut(SourceAddress, 40)}`]),
      ...(DestinationPort === undefined ? [] : [`to port ${cut(DestinationPort, 40)}`]),
      ...(Enabled === false ? ['[disabled]'] : []),
    ].join(' '),
  ConnectedHardware: ({ HardwareCategory, HardwareSubCategory, HardwareName }) =>
    `${text(HardwareCategory)}, ${text(HardwareSubCategory)}: ${cut(HardwareName, 60)}`,
  OSBaseline: ({ Severity, Result, Description, Error: error }) =>
    `${Result === 'Err' ? 'not judged, ' : ''}${text(Severity)}: ${cut(Description)}  [${cut(error, 70)}]`,
  SystemInformation: ({ OSName, OSVersion, OsArchitecture, HostName, TotalPhysicalMemoryInKB }) =>
    `${text(OSName)} ${text(OSVersion)} on ${text(OsArchitecture)}, host ${text(HostName)}, ${Math.round(Number(TotalPhysicalMemoryInKB ?? 0) / 1024)} MB`,
  Diagnostic: ({ Severity, Message }) => `${text(Severity)}: ${cut(Message, 160)}`,
  ConfigurationError: ({ ConfigurationName, ErrorType, Message }) =>
    `${text(ErrorType)}: ${text(ConfigurationName)} ${text(Message)}`,
  DroppedEventsStatistics: ({ Queue, CollectedEvents, DroppedEvents }) =>
    `${text(Queue)} queue: ${text(CollectedEvents)} collected, ${text(DroppedEvents)} dropped`,
  MessageStatistics: ({ MessagesSent, MessagesUnder4KB, TotalFailed }) =>
    `${text(MessagesSent)} messages sent (${text(MessagesUnder4KB)} under 4 KB), ${text(TotalFailed)} failed attempts`,
  SecurityAlert: ({
    Severity,
    RuleTitle,
    AlertType,
    Count,
    CommandLine,
    Executable,
    RemoteAddress,
    UserName,
    UserId,
  }) => {
    const what = [CommandLine ?? Executable, UserName ?? UserId, RemoteAddress].filter((fact) => fact !== undefined);
    const count = Count === 1 ? '' : `, ${times(text(Count))}`;
    return `${text(Severity)}: ${cut(RuleTitle)}${count}  [${text(AlertType)}${what.map((fact) => `, ${cut(fact)}`).join('')}]`;
  },
};

const fieldByField = ({ ExtraDetails, ...payload }: Payload): string =>
  cut(
    Object.entries({ ...payload, ...(ExtraDetails as object) })
      .map(([name, value]) => `${name} ${typeof value === 'object' ? JSON.stringify(value) : text(value)}`)
      .join(', '),
    160,
  );

/** An event in sentences. */
export interface Sentences {
  /** One for each element of the payload, as far as they are shown; `nothing found` for an empty event. */
  readonly lines: readonly string[];
  /** Describes omitted rows, and which part of a snapshot this is. */
  readonly notes: readonly string[];
}

/** Nothing in the result can move a terminal's cursor, or change how other text is displayed. */
export function sentencesOf({ Name, Payload: elements, IsEmpty }: Envelope): Sentences {
  const sentence = SENTENCES[Name] ?? fieldByField;
  if (IsEmpty) return { lines: ['nothing found'], notes: [] };
  const lines = elements.slice(0, MAX_SHOWN).map((payload) => {
    const extra = (payload.ExtraDetails ?? {}) as Readonly<Record<string, string>>;
    return printable(sentence(payload, extra));
  });
  const more = elements.length - lines.length;
  const part = partOf(elements);
  return { lines, notes: [...(more > 0 ? [`… and ${more} more`] : []), ...(part === undefined ? [] : [part])] };
}

export function describeEvent(event: Envelope): string[] {
  const { lines, notes } = sentencesOf(event);
  return [...lines, ...notes].map((line, index) => `${(index === 0 ? printable(event.Name) : '').padEnd(24)}${line}`);
}

/** Which part of a snapshot an event is, when that was sent as several. */
function partOf([first]: readonly Payload[]): string | undefined {
  const { Part, Parts, SnapshotId } = (first?.ExtraDetails ?? {}) as Partial<PartDetails>;
  return SnapshotId === undefined ? undefined : printable(`part ${Part} of ${Parts}, snapshot ${cut(SnapshotId, 36)}`);
}

/** Counts of events in the agent's status. */
export interface DeliveryCounts {
  readonly collected: number;
  readonly delivered: number;
  readonly aggregatedAway: number;
  readonly queued: { readonly highEvents: number; readonly lowEvents: number };
  /** Keyed by reason. */
  readonly dropped: Readonly<Record<string, number>>;
}

/** The accounts as an equation, which holds at any moment. */
export function describeDelivery({ collected, delivered, aggregatedAway, queued, dropped }: DeliveryCounts): string {
  const drops = Object.entries(dropped).map(([reason, count]) => `${count} ${reason}`);
  const sum = Object.values(dropped).reduce((all, count) => all + count, 0);
  return [
    `${collected} collected = ${delivered} delivered + ${aggregatedAway} aggregated away`,
    `${queued.highEvents + queued.lowEvents} queued`,
    `${sum} dropped${drops.length > 0 ? ` (${drops.join(', ')})` : ''}`,
  ].join(' + ');
}

/** Every leaf that differs between `before` and `after`, as `path = value` or `path removed`. */
export function differences(before: unknown, after: unknown, path = ''): string[] {
  if (JSON.stringify(before) === JSON.stringify(after)) return [];
  if (!isPlainObject(after)) return [after === undefined ? `${path} removed` : `${path} = ${JSON.stringify(after)}`];
  const old = isPlainObject(before) ? before : {};
  return [...new Set([...Object.keys(old), ...Object.keys(after)])].flatMap((name) =>
    differences(old[name], after[name], path === '' ? name : `${path}.${name}`),
  );
}
