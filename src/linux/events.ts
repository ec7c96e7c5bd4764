import { join } from 'node:path';
import type { BackgroundWriter } from '../base/background-writer.ts';
import type { Clock } from '../base/clock.ts';
import { type Duration, milliseconds, minutes, seconds } from '../base/duration.ts';
import type { Logger } from '../base/log.ts';
import { NoteFile } from '../base/note-file.ts';
import { isOwnProcess } from '../base/own-processes.ts';
import { Reader } from '../base/reader/reader.ts';
import type { Service } from '../base/service.ts';
import { WallTimes } from '../base/wall-times.ts';
import type { Moving } from '../base/watched-clock.ts';
import type { LossReason, SourceStatus, StreamName, StreamSink } from '../contract/sources.ts';
import { readOptional } from '../host/bounded-file.ts';
import { ProcFolder } from '../host/proc-folder.ts';
import { AuditFollower } from './audit/audit-follower.ts';
import { AUDIT_LOG } from './audit/audit-log-source.ts';
import type { Progress } from './audit/audit-source.ts';
import { AuditControl } from './audit/control.ts';
import type { AuditEvent } from './audit/event.ts';
import { RingUsers, withRings } from './audit/ring-users.ts';
import type { AuditRule } from './audit/rules.ts';
import type { AuditStatus } from './audit/status.ts';
import { UnauditedProcesses } from './audit/unaudited-processes.ts';
import { Logins } from './logins/logins.ts';
import { NETLINK_AUDIT, openNetlink } from './native/netlink/socket.ts';
import { AuditedStarts, START_RULES } from './processes/audited-starts.ts';
import { ExitSource, MOST_HELD_EXITS } from './processes/exits.ts';
import { CommandLines } from './processes/memory/command-lines.ts';
import { ProcessTable } from './processes/process-table.ts';
import { Connections, MOST_LATE } from './sockets/connections/connections.ts';
import { CONNECTION_RULES } from './sockets/connections/socket-calls.ts';
import { HeldCount } from './streams/held-count.ts';
import { OptionalSource } from './streams/optional-source.ts';
import { SourceLadder } from './streams/source-ladder.ts';

/** Without audit, how long it may take until a start that was lost is known to be. */
const LOSS_KNOWN_AFTER = seconds(8);
/** How often a source that couldn't be opened is tried again. */
const TRY_AGAIN = minutes(1);
/** Of files of /proc about the system as a whole. */
const MOST_BYTES = 16 * 1024;
/** When the agent stops, how long the last processes' arguments are waited for. */
const LAST_ARGUMENTS = milliseconds(500);
/** Starts that wait for arguments: twice what polling holds before it waits. */
const MOST_HELD_STARTS = 8_192;

/** What the kernel's audit must report for each stream. Logins are in records that no rule is needed for. */
const AUDIT_RULES: Partial<Readonly<Record<StreamName, readonly AuditRule[]>>> = {
  starts: START_RULES,
  exits: START_RULES, // the connector says who ended, and a start what it ran
  connections: CONNECTION_RULES,
};
/** The streams that a lost event of audit may have been for. */
const AUDITED = Object.keys(AUDIT_RULES) as StreamName[];

export const auditRulesOf = (streams: Iterable<StreamName>): readonly AuditRule[] =>
  [...streams].flatMap((stream) => AUDIT_RULES[stream] ?? []);

interface Parts {
  /** The streams that are wanted. */
  readonly streams: () => ReadonlySet<StreamName>;
  readonly sink: StreamSink;
  readonly clock: Clock;
  readonly log: Logger;
  /** Where the host's root directory is: `/`, or where a container has it mounted. */
  readonly hostRoot: string;
  /** Whether connections to this machine itself are of interest. */
  readonly loopback: boolean;
  /** Where to remember how far logs have been read. Absent: nothing is remembered, and nothing caught up with. */
  readonly stateDirectory?: string;
  /** Writes there in the background, behind the events. Absent: at once. */
  readonly writer?: BackgroundWriter | undefined;
  /** The container that a process is in, or has just been. Absent: nobody is asked. */
  readonly containerOf?: (pid: number) => string | undefined;
  /** Told when `status()` says something else than before. */
  readonly changed?: () => void;
}

/**
 * What happens on this system, as streams. Opens what the collectors that are on need, each from the best source that can
 * be had, and nothing else.
 *
 *     audit ──┬───────────────────────────→ starts      without audit: process connector, /proc
 *             ├→ connections, sock_diag ──→ connections
 *             ├→ logins ──────────────────→ logins      without audit: wtmp and btmp
 *             └→ process table ──┐
 *     process connector ─────────┴────────→ exits
 */
export class LinuxEvents implements Service, Moving {
  readonly name = 'events of Linux';
  readonly #parts: Parts;
  readonly #ladder: SourceLadder;
  readonly #commandLines: CommandLines;
  readonly #table: ProcessTable;
  readonly #starts: AuditedStarts;
  readonly #connections: Connections;
  readonly #ringUsers: RingUsers;
  readonly #logins: Logins;
  readonly #exits: OptionalSource<ExitSource>;
  readonly #heldExits: HeldCount | undefined;
  readonly #heldConnections: HeldCount | undefined;
  readonly #heldStarts: HeldCount | undefined;
  readonly #follower: AuditFollower | undefined;
  readonly #unaudited: UnauditedProcesses | undefined;
  /** Up to when all starts of programs have been read; up to when all that were lost are known as well. */
  #startsRead: Duration;
  #startsSettled: Duration;
  /** Since when the ends of processes have been listened to. */
  #exitsSince: Duration;
  readonly #wallTimes: WallTimes;
  /** When its reader handed something over, or had nothing more to read. */
  #heard: Duration;
  /** Until the first source of starts has been looked for. */
  #isOpening = true;
  /** What was wanted when that was last asked. */
  #wanted: ReadonlySet<StreamName> = new Set();
  #stopping: AbortController | undefined;
  #trying: Promise<void> = Promise.resolve();
  /** Sources are opened and closed by one at a time. */
  #turn: Promise<void> = Promise.resolve();

  constructor(parts: Parts) {
    this.#parts = parts;
    const { clock, log, hostRoot, loopback, sink, stateDirectory, writer } = parts;
    const proc = new ProcFolder(join(hostRoot, 'proc'));
    this.#startsRead = clock.monotonic();
    this.#startsSettled = this.#startsRead;
    this.#exitsSince = this.#startsRead;
    this.#wallTimes = new WallTimes(clock);
    this.#heard = this.#startsRead;
    const reader = new Reader({ clock, log, changed: () => parts.changed?.() });
    this.#commandLines = new CommandLines({ reader, proc: join(hostRoot, 'proc'), log });
    this.#table = new ProcessTable({ proc, clock, commandLines: this.#commandLines });
    const held = (stream: StreamName, most: number, file = `held-${stream}.json`) => {
      if (stateDirectory === undefined) return undefined;
      const note = new NoteFile(join(stateDirectory, file), writer);
      return new HeldCount({ stream, most, sink, note, log });
    };
    this.#heldExits = held('exits', MOST_HELD_EXITS);
    this.#heldConnections = held('connections', MOST_LATE);
    this.#heldStarts = held('starts', MOST_HELD_STARTS, 'held-processes.json');
    this.#starts = new AuditedStarts({ sink, log });
    this.#logins = new Logins({
      sink,
      clock,
      log,
      hostRoot,
      auditLog: AUDIT_LOG,
      stateDirectory,
      writer,
      executableOf: (pid) => this.#table.get(pid)?.executable,
      containerOf: (pid) => parts.containerOf?.(pid),
    });
    this.#follower =
      stateDirectory === undefined
        ? undefined
        : new AuditFollower({
            stateDirectory,
            hostRoot,
            deliver: (events) => this.#caughtUp(events),
            writer,
            clock,
            log,
          });
    this.#ringUsers = new RingUsers({ clock, log });
    this.#unaudited =
      stateDirectory === undefined
        ? undefined
        : new UnauditedProcesses({
            proc,
            commandLine: readOptional('/proc/cmdline', MOST_BYTES),
            bootId: readOptional('/proc/sys/kernel/random/boot_id', MOST_BYTES)?.trim() ?? '',
            note: new NoteFile(join(stateDirectory, 'audit-enabled.json'), writer),
            clock,
            log,
          });
    this.#connections = new Connections({
      sink,
      clock,
      log,
      loopback,
      own: (pid) => pid === process.pid,
      commandLineOf: (pid, executable) => {
        const known = this.#table.get(pid);
        return known?.executable === executable ? known?.commandLine : undefined;
      },
      commandLines: this.#commandLines,
      held: this.#heldConnections,
      learned: (pid, executable, argv) => this.#table.learn(pid, executable, argv),
      proc: join(hostRoot, 'proc'),
    });
    this.#ladder = new SourceLadder({
      wanted: () => ({ rules: withRings(auditRulesOf(parts.streams())), feeds: this.#wantedFeeds() }),
      audit: { accept: (events) => this.#accept(events), lost: (count) => this.#drop(AUDITED, 'kernel', count) },
      sink: { accept: (...batch) => sink.accept(...batch), drop: (...loss) => this.#drop(...loss) },
      clock,
      log,
      hostRoot,
      table: this.#table,
      commandLines: this.#commandLines,
      heldStarts: this.#heldStarts,
      resume: () => this.#follower?.resume() ?? {},
      drained: (progress) => this.#drained(progress),
      settled: (until) => this.#settled(until),
      interrupted: () => this.#table.startsLost(this.#startsSettled),
      changed: () => void this.#inTurn(() => this.#follow()),
    });
    this.#exits = new OptionalSource((onLost) => {
      // Nobody reads starts where there is no source of them.
      const hasSource = () => this.#ladder.feed !== undefined || this.#isOpening;
      const startsRead = () => (hasSource() ? this.#startsRead : clock.monotonic());
      const startsSettled = () => (hasSource() ? this.#startsSettled : clock.monotonic());
      const held = this.#heldExits;
      const parts = { table: this.#table, sink, clock, log, hostRoot, startsRead, startsSettled, onLost };
      return new ExitSource(held === undefined ? parts : { ...parts, held });
    });
  }

  async start(): Promise<void> {
    if (this.#stopping !== undefined) return;
    this.#stopping = new AbortController();
    this.#heldExits?.countKilled();
    this.#heldConnections?.countKilled();
    this.#heldStarts?.countKilled();
    await this.refresh();
    this.#trying = this.#tryAgain(this.#stopping.signal);
  }

  async stop(): Promise<void> {
    this.#stopping?.abort();
    await this.#trying;
    const done = new AbortController();
    const closing = this.#parts.clock.sleep(LAST_ARGUMENTS, done.signal).then(() => this.#commandLines.close());
    // Starts first: an end is told with the program that a start has named.
    await this.#ladder.stop();
    await this.#inTurn(async () => {
      await this.#exits.close();
      await this.#logins.close();
      await this.#connections.close();
      this.#heldExits?.close();
      this.#heldConnections?.close();
      this.#heldStarts?.close();
    });
    done.abort();
    await closing;
    await this.#follower?.stop();
    this.#stopping = undefined;
  }

  /** When audit was read last: several times a second, whatever there is to read. Now, where nobody reads it. */
  lastMoved(): Duration {
    return this.#ladder.feed === 'audit' ? this.#heard : this.#parts.clock.monotonic();
  }

  /** How the source of a stream stands. */
  status(stream: StreamName): SourceStatus {
    switch (stream) {
      case 'starts':
        return this.#ofStarts();
      case 'connections':
        return this.#commandLines.status(this.#withUnaudited(this.#ladder.status('audit')));
      case 'logins':
        return this.#ladder.feed === 'audit' ? this.#ladder.status('audit') : this.#logins.status();
      case 'exits':
        return this.#exits.status(() => ({ state: 'on', source: 'procConnector' }));
      default:
        return { state: 'on' };
    }
  }

  /** To be called when `streams()` has changed. Never rejects. */
  async refresh(): Promise<void> {
    if (this.#stopping === undefined || this.#stopping.signal.aborted) return;
    this.#wanted = this.#parts.streams();
    // Ends first: whoever is heard to start is then heard to end.
    await this.#inTurn(() => this.#followExits());
    if (this.#wantedFeeds().has('audit')) await this.#unaudited?.look(() => this.#auditStatus());
    await this.#ladder.start();
    await this.#ladder.refresh();
    this.#isOpening = false;
    await this.#inTurn(() => this.#follow());
  }

  /** With audit, the records have the arguments; the reader is not needed. */
  #ofStarts(): SourceStatus {
    const status = this.#withUnaudited(this.#ladder.status('starts'));
    return this.#ladder.feed === 'audit' ? status : this.#commandLines.status(status);
  }

  /** The state stays: most systems have such processes, and `degraded` for good would hide everything else. */
  #withUnaudited(status: SourceStatus): SourceStatus {
    if (this.#ladder.feed !== 'audit' || status.state === 'off') return status;
    const reasons = [status.reason, this.#unaudited?.reason()].filter((reason) => reason !== undefined);
    return reasons.length === 0 ? status : { ...status, reason: reasons.join(' ') };
  }

  async #auditStatus(): Promise<AuditStatus> {
    const control = new AuditControl(openNetlink(NETLINK_AUDIT), this.#parts.clock);
    try {
      return await control.status();
    } finally {
      control.close();
    }
  }

  #wantedFeeds(): ReadonlySet<'audit' | 'starts'> {
    const streams = this.#parts.streams();
    const feeds = new Set<'audit' | 'starts'>();
    const fromAudit = ['starts', 'connections', 'logins'] as const;
    // An end is told with the program that its start has named.
    if (streams.has('exits') || fromAudit.some((stream) => streams.has(stream))) feeds.add('audit');
    if (streams.has('exits') || streams.has('starts')) feeds.add('starts');
    return feeds;
  }

  /** Opens and closes what depends on what is wanted, and on what the ladder has found. */
  async #follow(): Promise<void> {
    const isStopping = this.#stopping === undefined || this.#stopping.signal.aborted;
    const streams = this.#parts.streams();
    const { feed } = this.#ladder;
    if (feed === 'audit') this.#follower?.began(this.#ladder.status('audit').source === 'auditLog');
    await this.#followExits();
    await this.#logins.follow({ isWanted: !isStopping && streams.has('logins'), isFromAudit: feed === 'audit' });
    this.#parts.changed?.();
  }

  async #followExits(): Promise<void> {
    const isStopping = this.#stopping === undefined || this.#stopping.signal.aborted;
    const wanted = !isStopping && this.#parts.streams().has('exits');
    const before = this.#parts.clock.monotonic();
    if (await this.#exits.want(wanted)) this.#exitsSince = before;
  }

  async #tryAgain(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#parts.clock.sleep(TRY_AGAIN, signal);
      await this.#inTurn(() => this.#follow());
    }
  }

  /** Takes what audit tells. The agent's own activity is not reported. */
  #accept(all: readonly AuditEvent[]): void {
    this.#heard = this.#parts.clock.monotonic();
    const events = all.filter((event) => !isOfOwnProcess(event) && this.#follower?.isNew(event) !== false);
    this.#table.acceptAudit(events, this.#wallTimes.reader());
    this.#connections.accept(events);
    this.#ringUsers.accept(events);
    this.#tell(events);
    this.#follower?.saw(all);
  }

  /** What auditd's log holds from before the agent listened. */
  #caughtUp(events: readonly AuditEvent[]): void {
    const others = events.filter((event) => !isOfOwnProcess(event));
    const timeOf = this.#wallTimes.reader();
    // The end of one that started before ends were listened to may have gone unnoticed; those that live are known from /proc.
    const heardToEnd = others.filter(({ time }) => timeOf(time) >= this.#exitsSince);
    this.#table.acceptAudit(heardToEnd, timeOf);
    this.#tell(others);
  }

  #tell(events: readonly AuditEvent[]): void {
    if (this.#wanted.has('starts')) this.#starts.accept(events);
    this.#logins.accept(events);
  }

  #drop(stream: StreamName | readonly StreamName[], reason: LossReason, count: number): void {
    if (reason === 'kernel') this.#table.startsLost(this.#startsSettled);
    this.#parts.sink.drop(stream, reason, count);
  }

  #drained({ until, position }: Progress): void {
    this.#connections.settle();
    this.#logins.expire();
    this.#wallTimes.look();
    this.#startsRead = until;
    this.#heard = this.#parts.clock.monotonic();
    this.#follower?.mark(until, position);
    if (this.#ladder.feed === 'starts') this.#startsSettled = milliseconds(until - LOSS_KNOWN_AFTER);
  }

  /** What was missed may be in auditd's log as well, until that has been read. */
  #settled(until: Duration): void {
    if (this.#follower?.isCatchingUp !== true) this.#startsSettled = until;
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const { log } = this.#parts;
    this.#turn = this.#turn.then(work).catch((err: unknown) => log.error({ err }, 'Could not change the sources.'));
    return this.#turn;
  }
}

const isOfOwnProcess = ({ fields }: AuditEvent): boolean => isOwnProcess(Number(fields.pid), Number(fields.ppid));
