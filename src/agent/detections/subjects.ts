import { copied } from '../../core/base/values.ts';
import type { Payload } from '../../core/contract/event.ts';

import { MatchCache } from './engine/match-cache.ts';
import type { Fields, LogSource, Subject, View } from './subject.ts';
import { downloadTargets } from './targets.ts';
import { MAX_VIEWS } from './views/limits.ts';
import { viewsOf } from './views/views.ts';

/** Events whose elements are evaluated separately. */
export const SOURCES: Readonly<Record<string, LogSource | undefined>> = {
  ProcessCreate: 'process_creation',
  ConnectionCreate: 'network_connection',
  Login: 'login',
  ProcessTerminate: 'process_end',
  FileChange: 'file_change',
  NameResolution: 'dns_query',
};

/** Sources for which no collector makes events yet: rules on them are loaded, and shown as off. */
export const UNSEEN: readonly LogSource[] = ['file_event', 'file_change', 'file_delete', 'file_rename', 'dns_query'];

/** Fields that no collector fills yet: rules that require one are loaded, and shown as off. */
export const UNSEEN_FIELDS: Readonly<Partial<Record<LogSource, readonly string[]>>> = {
  network_connection: ['DestinationHostname'],
};

/** One element of an event. */
export interface Happening {
  /** Name of the event. */
  readonly name: string;
  readonly payload: Payload;
  /** By the kernel's clock, in milliseconds since the epoch. */
  readonly time: number;
  /** Ids of the event. */
  readonly ids?: readonly string[];
  /** Exact arguments of a started process, if known. */
  readonly argv?: readonly string[] | undefined;
  /** The program of a started process's parent, if known. */
  readonly parent?: Program | undefined;
  /** The name of a local user: connections have only the id. */
  readonly userNameOf?: (userId: number) => string | undefined;
}

export interface Program {
  readonly executable: string;
  readonly commandLine?: string | undefined;
}

/** The subject of an event; `undefined` for events that are evaluated differently or not at all. */
export function subjectOf(happening: Happening): Subject | undefined {
  const { name, payload, time, ids = [] } = happening;
  const source = SOURCES[name];
  if (source === undefined) return undefined;
  const event = { name, ids, payload };
  const own = ownFields(payload);
  own.Event = name;
  if (source === 'process_creation') return new Start(time, event, startFields(own, happening), happening.argv);
  if (source === 'network_connection')
    return { source, time, event, views: [], fields: connectionFields(own, happening) };
  return { source, time, event, views: [], fields: withImage(own) };
}

/** Views are made on demand: the matches of most starts are already known. */
class Start implements Subject {
  readonly source = 'process_creation';
  readonly time: number;
  readonly event: Subject['event'];
  readonly fields: Fields;
  readonly bounds: string;
  readonly #argv: readonly string[] | undefined;
  #views: readonly View[] | undefined;

  constructor(time: number, event: Subject['event'], fields: Fields, argv: readonly string[] | undefined) {
    this.time = time;
    this.event = event;
    this.fields = fields;
    this.bounds = boundsOf(argv);
    this.#argv = argv;
  }

  get views(): readonly View[] {
    const { Executable = '', CommandLine = '', CurrentDirectory } = this.fields;
    this.#views ??= withDownloads(
      withArguments(
        viewsOf({
          executable: Executable,
          commandLine: CommandLine,
          ...(this.#argv === undefined ? {} : { argv: this.#argv }),
          ...(CurrentDirectory === undefined ? {} : { currentDirectory: CurrentDirectory }),
        }),
        this.#argv,
      ),
    );
    return this.#views;
  }
}

/** The first view is the original event, so it has the original arguments. */
function withArguments(views: readonly View[], argv: readonly string[] | undefined): readonly View[] {
  const [first, ...further] = views;
  return argv === undefined || first === undefined ? views : [{ ...first, argv }, ...further];
}

/** If a view downloads several files, one view for each: a sequence follows each separately. */
function withDownloads(views: readonly View[]): readonly View[] {
  const further = views.flatMap((view) =>
    downloadTargets(view)
      .slice(1)
      .map((_, i) => ({ ...view, download: i + 1 })),
  );
  return further.length === 0 ? views : [...views, ...further].slice(0, MAX_VIEWS);
}

/** With more arguments, a key is longer than any that is cached. */
const MAX_BOUNDS = 4_096;

/** Ends of the arguments within a command line: `x y` can be one argument or two. Empty if unknown. */
export function boundsOf(argv: readonly string[] | undefined): string {
  let bounds = '';
  for (const { length } of argv?.slice(0, MAX_BOUNDS) ?? []) bounds += `${length} `;
  return bounds;
}

/** All defined members of a payload, and those of ExtraDetails, under their own names. */
export function ownFields(payload: Payload): Record<string, string> {
  const fields: Record<string, string> = {};
  for (const name in payload) {
    const value = payload[name];
    if (name === 'ExtraDetails' && typeof value === 'object' && value !== null) {
      for (const detail in value) {
        const text = textOf((value as Payload)[detail]);
        if (text !== undefined && !Object.hasOwn(fields, detail)) fields[detail] = text;
      }
    } else {
      const text = textOf(value);
      if (text !== undefined) fields[name] = text;
    }
  }
  return fields;
}

function textOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : undefined;
}

function withImage(own: Record<string, string>): Fields {
  if (own.Executable !== undefined) own.Image ??= own.Executable;
  if (own.UserName !== undefined) own.User ??= own.UserName;
  return own;
}

function rename(fields: Record<string, string>, from: string, to: string): void {
  const value = fields[from];
  if (value !== undefined) fields[to] ??= value;
}

function startFields(own: Record<string, string>, { parent, payload }: Happening): Fields {
  withImage(own);
  if (own.LoginUserId !== undefined) own.LogonId ??= own.LoginUserId;
  if (own.Sha256 !== undefined) own.Hashes = `SHA256=${own.Sha256}`;
  // Recorded events may have it.
  const { ParentExecutable, ParentCommandLine } = payload;
  const program =
    typeof ParentExecutable === 'string'
      ? {
          executable: ParentExecutable,
          commandLine: typeof ParentCommandLine === 'string' ? ParentCommandLine : undefined,
        }
      : parent;
  if (program === undefined) return own;
  own.ParentExecutable = program.executable;
  own.ParentImage = program.executable; // not by its arguments, which its parent chooses
  if (program.commandLine !== undefined) own.ParentCommandLine = program.commandLine;
  return own;
}

/** For the last programs: a few programs start most processes and open most connections. */
const images = new MatchCache<string>({ sizeOf: ({ length }) => length, copy: copied });

/** The image of a program, as in the first view of its start. */
function imageOf({ executable, commandLine = '' }: Program): string {
  const line = commandLine.slice(0, 1_024); // only the first words matter
  const key = `${executable}\0${line}`;
  let image = images.get(key);
  if (image === undefined) {
    image = viewsOf({ executable, commandLine: line })[0]?.Image ?? executable;
    images.set(key, image);
  }
  return image;
}

function connectionFields(own: Record<string, string>, { userNameOf }: Happening): Fields {
  const { Executable: executable, CommandLine: commandLine, UserId } = own;
  if (executable !== undefined) own.Image = imageOf({ executable, commandLine });
  const userName = UserId === undefined ? undefined : userNameOf?.(Number(UserId));
  if (userName !== undefined) own.UserName = userName;
  withImage(own);
  const isOut = own.Direction === 'Out';
  if (own.Direction !== undefined) own.Initiated = String(isOut);
  rename(own, 'RemoteAddress', isOut ? 'DestinationIp' : 'SourceIp');
  rename(own, 'RemotePort', isOut ? 'DestinationPort' : 'SourcePort');
  rename(own, 'LocalAddress', isOut ? 'SourceIp' : 'DestinationIp');
  rename(own, 'LocalPort', isOut ? 'SourcePort' : 'DestinationPort');
  return own;
}
