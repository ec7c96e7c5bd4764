import { join } from 'node:path';
import type { Clock } from '../../core/base/clock.ts';
import { type Duration, milliseconds } from '../../core/base/duration.ts';
import type { Logger } from '../../core/base/log.ts';
import type { Service } from '../../core/base/service.ts';
import type { Moving } from '../../core/base/watched-clock.ts';
import type { Ancestry, ProcessThen, StartMoment } from '../../core/contract/ancestry.ts';
import type { SourceStatus } from '../../core/contract/sources.ts';
import type { AuditFlood, StreamName, StreamSink } from '../../core/contract/streams.ts';
import { hostProc } from '../host/in-root.ts';
import { ProcFolder } from '../host/proc-folder.ts';
import { Reader } from '../reader/reader.ts';
import type { BackgroundWriter } from '../state/background-writer.ts';
import { NoteFile } from '../state/note-file.ts';
import { RingUsers, withRings } from './audit/io-uring.ts';
import type { AuditRule } from './audit/rules.ts';
import { CommandLines } from './processes/memory/command-lines.ts';
import { ProcessTable } from './processes/process-table.ts';
import { HeldCount } from './source-state/held-count.ts';
import type { EventSource, SourceDeclaration } from './streams/event-source.ts';
import { Feeds } from './streams/feeds.ts';
import { SOURCES } from './streams/index.ts';
import { SourceSupervisor } from './streams/supervisor.ts';

/** Maximum wait for the arguments of the last processes when the agent stops. */
const LAST_ARGUMENTS = milliseconds(500);
/** Starts that wait for arguments: twice what polling holds before it waits. */
const MAX_HELD_STARTS = 8_192;

interface Parts {
  /** The wanted streams. */
  readonly streams: () => ReadonlySet<StreamName>;
  readonly sink: StreamSink;
  readonly clock: Clock;
  readonly log: Logger;
  /** Where the host's root directory is: `/`, or where a container has it mounted. */
  readonly hostRoot: string;
  /** Whether connections of this machine to itself are reported. */
  readonly loopback: boolean;
  /** Folder for the positions in logs. If omitted, positions are not kept, and missed events are not read from logs. */
  readonly stateDirectory?: string;
  /** Whether it must leave audit to another agent that runs. Default: no. */
  readonly yieldsToAgent?: boolean;
  /** Whether programs wait for space in audit's backlog (`audit.backlogWait`). Default: no. */
  readonly backlogWait?: boolean;
  /** Called when a user floods audit. */
  readonly flooded?: (flood: AuditFlood) => void;
  /** Writes the state in the background, after the events. If omitted, it is written immediately. */
  readonly writer?: BackgroundWriter | undefined;
  /** The container of a process that runs or has just exited. If omitted, containers are unknown. */
  readonly containerOf?: (pid: number) => string | undefined;
  /** Called when `status()` has changed. */
  readonly changed?: () => void;
}

/** The audit rules that a stream needs. */
export const auditRulesOf = (stream: StreamName): readonly AuditRule[] =>
  SOURCES.find(({ streams }) => streams.includes(stream))?.auditRules ?? [];

const isWanted = (source: SourceDeclaration, streams: ReadonlySet<StreamName>): boolean =>
  source.streams.some((stream) => streams.has(stream));

/**
 * The streams of events of this system. Opens only the sources whose streams are wanted, and the best available feed that
 * they need.
 *
 *     audit ──┬───────────────────────────→ starts      without audit: process connector, /proc
 *             ├→ connections, sock_diag ──→ connections
 *             ├→ logins ──────────────────→ logins      without audit: wtmp and btmp
 *             └→ process table ──┐
 *     process connector ─────────┴────────→ exits
 */
export class LinuxEvents implements Service, Moving, Ancestry {
  readonly name = 'events of Linux';
  readonly #parts: Parts;
  readonly #sources: readonly { readonly declared: SourceDeclaration; readonly source: EventSource }[];
  readonly #feeds: Feeds;
  readonly #commandLines: CommandLines;
  readonly #table: ProcessTable;
  readonly #held: HeldCount[] = [];
  readonly #supervisor: SourceSupervisor;

  /** @param declared replaced in tests */
  constructor(parts: Parts, declared: readonly SourceDeclaration[] = SOURCES) {
    this.#parts = parts;
    const { clock, log, hostRoot, loopback, sink, stateDirectory, writer } = parts;
    const proc = new ProcFolder(hostProc(hostRoot));
    const reader = new Reader({ clock, log, changed: () => parts.changed?.() });
    this.#commandLines = new CommandLines({ reader, proc: hostProc(hostRoot), log });
    this.#table = new ProcessTable({ proc, clock, commandLines: this.#commandLines });
    this.#supervisor = new SourceSupervisor({
      clock,
      log,
      retry: async () => {
        await this.#feeds.improve();
        await this.#follow();
      },
      status: () => this.#feeds.wantedStatus(),
      changed: () => void this.#supervisor.run(() => this.#follow()),
    });
    const shared = {
      sink,
      clock,
      log,
      hostRoot,
      stateDirectory,
      writer,
      table: this.#table,
      commandLines: this.#commandLines,
    };
    this.#feeds = new Feeds({
      ...shared,
      yieldsToAgent: parts.yieldsToAgent === true,
      backlogWait: parts.backlogWait === true,
      flooded: parts.flooded,
      proc,
      wanted: () => this.#needs(),
      audited: declared.filter(({ auditRules }) => auditRules.length > 0).flatMap(({ streams }) => streams),
      heldStarts: this.#heldCount('starts', MAX_HELD_STARTS, 'held-processes.json'),
      supervisor: this.#supervisor,
    });
    const host = {
      ...shared,
      loopback,
      containerOf: (pid: number) => parts.containerOf?.(pid),
      feeds: this.#feeds,
      times: this.#feeds.times,
      held: (stream: StreamName, max: number) => this.#heldCount(stream, max, `held-${stream}.json`),
    };
    this.#sources = declared.map((each) => ({ declared: each, source: each.make(host) }));
    const ringUsers = new RingUsers({ clock, log });
    this.#feeds.subscribe([
      ...this.#sources.map(({ source }) => source),
      { acceptAudit: (events, isLive) => isLive && ringUsers.accept(events) },
    ]);
  }

  /**
   * Connects the kernel's audit before the parts start that take its events: from now on, its records wait in the kernel,
   * until this service has started. Where that fails, it is tried again then.
   */
  readonly connection: Service = {
    name: "connection to the kernel's audit",
    start: () => this.#feeds.connect(),
    stop: () => this.#feeds.disconnect(),
  };

  async start(): Promise<void> {
    if (this.#supervisor.isRunning) return;
    this.#supervisor.start();
    for (const held of this.#held) held.countKilled();
    await this.refresh();
  }

  async stop(): Promise<void> {
    await this.#supervisor.stop();
    const done = new AbortController();
    const closing = this.#parts.clock.sleep(LAST_ARGUMENTS, done.signal).then(() => this.#commandLines.close());
    // Starts first: an exit is reported with the program that the start has named.
    await this.#supervisor.run(() => this.#feeds.close());
    await this.#supervisor.run(async () => {
      for (const { source } of this.#sources) await source.close?.();
    });
    done.abort();
    await closing;
    await this.#feeds.finish();
  }

  /** When audit was last read; while it isn't open, the current time. */
  lastMoved(): Duration {
    return this.#feeds.lastMoved();
  }

  /** Status of the source of a stream. */
  status(stream: StreamName): SourceStatus {
    const found = this.#sources.find(({ declared }) => declared.streams.includes(stream));
    return found === undefined ? { state: 'on' } : found.source.status();
  }

  /** What a process was at a moment. Best effort, for processes that have just started another. */
  processAt(pid: number, moment: StartMoment): ProcessThen | undefined {
    return this.#table.processAt(pid, moment);
  }

  /** Call this when `streams()` has changed. Never rejects. */
  async refresh(): Promise<void> {
    if (!this.#supervisor.isRunning) return;
    await this.#supervisor.run(() => this.#prepare());
    await this.#supervisor.run(async () => {
      if (this.#supervisor.isRunning) await this.#feeds.refresh();
    });
    await this.#supervisor.run(() => this.#follow());
  }

  #needs() {
    const streams = this.#parts.streams();
    const wanted = this.#sources.map(({ declared }) => declared).filter((declared) => isWanted(declared, streams));
    return {
      rules: withRings(wanted.flatMap(({ auditRules }) => auditRules)),
      feeds: new Set(wanted.flatMap(({ feeds }) => feeds)),
    };
  }

  /** Opens what must listen before the feeds. */
  async #prepare(): Promise<void> {
    const streams = this.#wantedNow();
    for (const { declared, source } of this.#sources) await source.prepare?.(isWanted(declared, streams));
  }

  /** Opens and closes sources, by the wanted streams and the open feed. */
  async #follow(): Promise<void> {
    const streams = this.#wantedNow();
    for (const { declared, source } of this.#sources)
      await source.follow?.(isWanted(declared, streams), this.#feeds.current);
    this.#parts.changed?.();
  }

  #wantedNow(): ReadonlySet<StreamName> {
    return this.#supervisor.isRunning ? this.#parts.streams() : new Set();
  }

  #heldCount(stream: StreamName, max: number, file: string): HeldCount | undefined {
    const { stateDirectory, writer, sink, log } = this.#parts;
    if (stateDirectory === undefined) return undefined;
    // The checkpoint counts held records as reported, so it must not precede them.
    const note = new NoteFile(join(stateDirectory, file), writer, { writeFirst: true });
    const held = new HeldCount({ stream, max, sink, note, log });
    this.#held.push(held);
    return held;
  }
}
