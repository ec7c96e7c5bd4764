import type { Ancestry, StartMoment } from '../../../core/contract/ancestry.ts';
import type { Snapshot } from '../../../core/contract/consumers.ts';
import type { Fields, Subject } from '../subject.ts';
import { allFields } from './rows.ts';

/** Maximum number of rows of one user at one address that are searched. Further ports are reported without their process. */
const MAX_ROWS = 256;

/** Adds the process that had a new port open at the time of the snapshot, and its parent, to changes of listening ports. */
export function withHolders(
  changes: readonly Subject[],
  { rows, at }: Pick<Snapshot, 'rows' | 'at'>,
  ancestry: Ancestry,
): readonly Subject[] {
  const isOpened = ({ source, fields }: Subject) => source === 'listening_port_change' && fields.Change !== 'removed';
  if (!changes.some(isOpened)) return changes;
  const byPlace = new Map<string, { readonly from: number; readonly to: number; readonly pid: string | undefined }[]>();
  for (const row of rows) {
    const fields = allFields(row);
    const place = placeOf(fields);
    const known = byPlace.get(place) ?? [];
    if (known.length === 0) byPlace.set(place, known);
    if (known.length >= MAX_ROWS) continue;
    const [from = 0, to = from] = boundsOf(fields);
    known.push({ from, to, pid: fields.Pid });
  }
  const moment = { time: at.getTime() };
  return changes.map((subject) => {
    if (!isOpened(subject)) return subject;
    const [port = 0] = boundsOf(subject.fields);
    const row = byPlace.get(placeOf(subject.fields))?.find(({ from, to }) => from <= port && port <= to);
    return row?.pid === undefined || subject.fields.Executable === undefined
      ? subject
      : withHolder(subject, Number(row.pid), moment, ancestry);
  });
}

const placeOf = ({ Protocol, LocalAddress = '', Zone = '', UserId = '' }: Fields) =>
  `${Protocol} ${LocalAddress} ${Zone} ${UserId}`;

const boundsOf = ({ LocalPort = '' }: Fields): number[] => LocalPort.split('-').map(Number);

function withHolder(subject: Subject, pid: number, moment: StartMoment, ancestry: Ancestry): Subject {
  const holder = ancestry.processAt(pid, moment);
  // The pid may have been reused.
  if (holder === undefined || holder.executable !== subject.fields.Executable) return subject;
  const { parentPid, commandLine, since = moment } = holder;
  const parent = parentPid === 0 ? undefined : ancestry.processAt(parentPid, since);
  const { payload } = subject.event;
  return {
    ...subject,
    fields: {
      ...subject.fields,
      ...(parent === undefined ? {} : { ParentImage: parent.executable }),
      ...(parent?.commandLine === undefined ? {} : { ParentCommandLine: parent.commandLine }),
    },
    event: {
      ...subject.event,
      payload: {
        ...payload,
        ProcessId: pid,
        ...(commandLine === undefined ? {} : { CommandLine: commandLine }),
        ...(parentPid === 0 ? {} : { ParentProcessId: parentPid }),
      },
    },
  };
}
