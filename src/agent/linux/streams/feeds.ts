import { join } from 'node:path';
import { readOptional } from '../../../core/base/bounded-file.ts';
import type { Clock } from '../../../core/base/clock.ts';
import { type Duration, milliseconds } from '../../../core/base/duration.ts';
import type { Logger } from '../../../core/base/log.ts';
import type { AuditFlood } from '../../../core/contract/audit-flood.ts';
import type { SourceStatus } from '../../../core/contract/sources.ts';
import type { LossReason, StreamName, StreamSink } from '../../../core/contract/streams.ts';
import { isOwnProcess } from '../../host/own-processes.ts';
import type { ProcFolder } from '../../host/proc-folder.ts';
import type { BackgroundWriter } from '../../state/background-writer.ts';
import { NoteFile } from '../../state/note-file.ts';
import { AuditFollower } from '../audit/audit-follower.ts';
import type { Progress } from '../audit/audit-source.ts';
import { AuditControl } from '../audit/control.ts';
import type { AuditEvent } from '../audit/event.ts';
import { RingUsers, withRings } from '../audit/ring-users.ts';
import type { AuditRule } from '../audit/rules.ts';
import type { AuditStatus } from '../audit/status.ts';
import { UnauditedProcesses } from '../audit/unaudited-processes.ts';
import { NETLINK_AUDIT, openNetlink } from '../native/netlink/socket.ts';
import type { CommandLineSource } from '../processes/memory/command-lines.ts';
import { LOSS_KNOWN_AFTER, type ProcessTable } from '../processes/process-table.ts';
import type { HeldCount } from '../source-state/held-count.ts';
import { type Feed, type Rung, SourceLadder } from './source-ladder.ts';
import { WallTimes } from './wall-times.ts';

/** Size limit for files in /proc about the whole system. */
const MAX_BYTES = 16 * 1024;

/** Receives what the feeds report. */
export interface FeedSubscriber {
  /**
   * Receives audit events in order, without the agent's own; also those that only another subscriber needs.
   *
   * @param isLive false: the events are from auditd's log, from before the agent listened
   */
  acceptAudit?(events: readonly AuditEvent[], isLive: boolean): void;
  /** Called after every drain of the open feed: everything that it had was delivered. */
  drained?(): void;
}

interface Parts {
  /** Whether it must leave audit to another agent that runs. */
  readonly yieldsToAgent?: boolean;
  /** The feeds and audit rules that the wanted sources need. */
  readonly wanted: () => { readonly rules: readonly AuditRule[]; readonly feeds: ReadonlySet<Feed> };
  /** Receives starts that do not come from audit, and the losses of both feeds. */
  readonly sink: StreamSink;
  /** The streams that a lost audit event may have belonged to. */
  readonly audited: readonly StreamName[];
  /** See AuditSource. */
  readonly flooded?: ((flood: AuditFlood) => void) | undefined;
  readonly backlogWait?: boolean | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  readonly hostRoot: string;
  /** If omitted, no state is kept, and missed events are not read from auditd's log. */
  readonly stateDirectory: string | undefined;
  readonly writer: BackgroundWriter | undefined;
  readonly proc: ProcFolder;
  /** Gets every start. */
  readonly table: ProcessTable;
  readonly commandLines: CommandLineSource;
  /** Called with the number of starts that wait for their arguments. */
  readonly heldStarts: HeldCount | undefined;
  /** Called when another feed was opened, or its status has changed. */
  readonly changed: () => void;
}

/**
 * The feeds that several sources read from: the kernel's audit, or if that isn't available, starts of programs by other
 * means. At most one feed is open, the best available one.
 *
 * Maintains the process table, reads from auditd's log what was missed while the agent was not running, and knows up to
 * which time all starts were read.
 */
export class Feeds {
  readonly #parts: Parts;
  readonly #ladder: SourceLadder;
  readonly #follower: AuditFollower | undefined;
  readonly #unaudited: UnauditedProcesses | undefined;
  readonly #ringUsers: RingUsers;
  readonly #wallTimes: WallTimes;
  /** Times up to which all starts were read, and up to which all lost starts are known, too. */
  #startsRead: Duration;
  #startsSettled: Duration;
  /** Exits of processes are received since this time. */
  #endsSince: Duration;
  /** When audit was last read, even if nothing was found. */
  #lastRead: Duration;
  /** Until everything was read that had arrived when reading began. */
  #isFirstRead = true;
  /** Until the first attempt to open a feed is done. */
  #isOpening = true;
  #subscribers: readonly FeedSubscriber[] = [];

  /** @param ladder replaced in tests */
  constructor(parts: Parts, ladder?: readonly Rung[]) {
    this.#parts = parts;
    const { clock, log, hostRoot, stateDirectory, writer, proc, table, commandLines, heldStarts, sink, audited } =
      parts;
    this.#startsRead = clock.monotonic();
    this.#startsSettled = this.#startsRead;
    this.#endsSince = this.#startsRead;
    this.#lastRead = this.#startsRead;
    this.#wallTimes = new WallTimes(clock);
    this.#ringUsers = new RingUsers({ clock, log });
    if (stateDirectory !== undefined) {
      const deliver = (events: readonly AuditEvent[]) => this.#acceptPast(events);
      const isBehind = () => sink.isBehind?.() === true;
      this.#follower = new AuditFollower({ stateDirectory, hostRoot, deliver, isBehind, writer, clock, log });
      this.#unaudited = new UnauditedProcesses({
        proc,
        commandLine: readOptional('/proc/cmdline', MAX_BYTES),
        bootId: readOptional('/proc/sys/kernel/random/boot_id', MAX_BYTES)?.trim() ?? '',
        note: new NoteFile(join(stateDirectory, 'audit-enabled.json'), writer),
        clock,
        log,
      });
    }
    const lost = (count: number) => this.#drop(audited, 'kernel', count);
    this.#ladder = new SourceLadder(
      {
        wanted: () => {
          const { rules, feeds } = parts.wanted();
          return { rules: withRings(rules), feeds };
        },
        audit: { accept: (events) => this.#accept(events), lost },
        auditLog: { accept: (events) => this.#acceptLogged(events), lost },
        yieldsToAgent: parts.yieldsToAgent === true,
        flooded: parts.flooded,
        backlogWait: parts.backlogWait,
        excluded: (count) => this.#drop('starts', 'excluded', count),
        sink: { accept: (...batch) => sink.accept(...batch), drop: (...loss) => this.#drop(...loss) },
        clock,
        log,
        hostRoot,
        table,
        commandLines,
        heldStarts,
        resume: () => this.#follower?.resume() ?? {},
        drained: (progress) => this.#drained(progress),
        settled: (until) => this.#settled(until),
        foundTaskRule: (isThere) => void this.#unaudited?.foundTaskRule(isThere),
        opened: () => this.#catchUp(),
        interrupted: () => table.startsLost(this.#startsSettled),
        changed: () => parts.changed(),
      },
      ladder,
    );
  }

  /** Subscribers receive what the feeds report, in this order. Call this before the feeds are opened. */
  subscribe(subscribers: readonly FeedSubscriber[]): void {
    this.#subscribers = subscribers;
  }

  /** The feed that is open; `undefined` when none is. */
  get current(): Feed | undefined {
    return this.#ladder.feed;
  }

  /** Status for a source that needs `feed`. Both feeds report starts. */
  status(feed: Feed): SourceStatus {
    return this.#ladder.status(feed);
  }

  /**
   * The same for a source that needs audit's records of system calls: the reason names processes that audit does not
   * report. The state is unchanged: most systems have such processes, and a permanent `degraded` would hide other problems.
   */
  statusOfCalls(feed: Feed): SourceStatus {
    const status = this.status(feed);
    if (this.current !== 'audit' || status.state === 'off') return status;
    const reasons = [status.reason, this.#unaudited?.reason()].filter((reason) => reason !== undefined);
    return reasons.length === 0 ? status : { ...status, reason: reasons.join(' ') };
  }

  /** When audit was last read, which happens at least every two seconds. While it isn't open, the current time. */
  lastMoved(): Duration {
    return this.current === 'audit' ? this.#lastRead : this.#parts.clock.monotonic();
  }

  /** Time up to which all starts were read. If no feed reports starts, the current time. */
  startsRead(): Duration {
    return this.#hasStarts ? this.#startsRead : this.#parts.clock.monotonic();
  }

  /** Time up to which all lost starts are known. If no feed reports starts, the current time. */
  startsSettled(): Duration {
    return this.#hasStarts ? this.#startsSettled : this.#parts.clock.monotonic();
  }

  /** Exits are received from `since` on: processes that started earlier may have exited unnoticed. */
  listenToEnds(since: Duration): void {
    this.#endsSince = since;
  }

  /**
   * Connects the kernel's audit if it is wanted and available: from now on, its records wait in the kernel until `refresh`
   * reads them. Never rejects.
   */
  async connect(): Promise<void> {
    if (this.#wantsAudit) await this.#unaudited?.ask(() => this.#auditStatus());
    await this.#ladder.connect();
  }

  /** Closes what `connect` has opened, unless `refresh` has taken it over. Never rejects. */
  async disconnect(): Promise<void> {
    await this.#ladder.disconnect();
  }

  /** Opens and closes feeds as `wanted()` demands. Never rejects. */
  async refresh(): Promise<void> {
    if (this.#wantsAudit) await this.#unaudited?.look(() => this.#auditStatus());
    await this.#ladder.start();
    await this.#ladder.refresh();
    this.#isOpening = false;
  }

  /** Delivers what is left, and closes the open feed. */
  async close(): Promise<void> {
    await this.#ladder.stop();
  }

  /** Stops catching up, and saves the position in audit. Call this when the sources have closed. */
  async finish(): Promise<void> {
    await this.#follower?.stop();
  }

  get #hasStarts(): boolean {
    return this.current !== undefined || this.#isOpening;
  }

  get #wantsAudit(): boolean {
    return this.#parts.wanted().feeds.has('audit');
  }

  async #auditStatus(): Promise<AuditStatus> {
    const control = new AuditControl(openNetlink(NETLINK_AUDIT), this.#parts.clock);
    try {
      return await control.status();
    } finally {
      control.close();
    }
  }

  /** Receives audit events from the kernel. The agent's own activity is not reported. */
  #accept(all: readonly AuditEvent[]): void {
    const events = all.filter((event) => !isOfOwnProcess(event));
    this.#pass(events);
    if (this.#isFirstRead) this.#forgetExited(events);
    this.#follower?.seen(all);
  }

  /** Receives events of auditd's log, where that is the source; at first also those that it had before. */
  #acceptLogged(all: readonly AuditEvent[]): void {
    const events = all.filter((event) => !isOfOwnProcess(event) && this.#follower?.isNew(event) !== false);
    this.#pass(events, this.#follower?.readsPast === true ? this.#withExits(events) : events);
    this.#follower?.seen(all);
  }

  /** Receives events of auditd's log from before the agent listened to the kernel. */
  #acceptPast(all: readonly AuditEvent[]): void {
    const events = all.filter((event) => !isOfOwnProcess(event));
    this.#parts.table.acceptAudit(this.#withExits(events), this.#wallTimes.reader());
    for (const subscriber of this.#subscribers) subscriber.acceptAudit?.(events, false);
  }

  /** @param known the starts that the process table receives */
  #pass(events: readonly AuditEvent[], known = events): void {
    this.#lastRead = this.#parts.clock.monotonic();
    this.#parts.table.acceptAudit(known, this.#wallTimes.reader());
    for (const subscriber of this.#subscribers) subscriber.acceptAudit?.(events, true);
    this.#ringUsers.accept(events);
  }

  /** A process that started before exits were received may have exited unnoticed; the running ones are known from /proc. */
  #withExits(events: readonly AuditEvent[]): readonly AuditEvent[] {
    const timeOf = this.#wallTimes.reader();
    return events.filter(({ time }) => timeOf(time) >= this.#endsSince);
  }

  /** Reads what audit reported while the agent was not running; once, before the first live event is read. */
  #catchUp(): void {
    if (this.current === 'audit') this.#follower?.began(this.status('audit').source === 'auditLog');
  }

  /** A process that started before exits were received, while audit's records waited, may have exited unnoticed. */
  #forgetExited(events: readonly AuditEvent[]): void {
    const { proc, table } = this.#parts;
    const timeOf = this.#wallTimes.reader();
    for (const { time, fields } of events) {
      const pid = Number(fields.pid);
      if (timeOf(time) < this.#endsSince && proc.inode(pid) === undefined) table.ended(pid);
    }
  }

  #drop(stream: StreamName | readonly StreamName[], reason: LossReason, count: number): void {
    const { table, sink } = this.#parts;
    if (reason === 'kernel') table.startsLost(this.#startsSettled);
    sink.drop(stream, reason, count);
  }

  #drained({ until, position }: Progress): void {
    this.#isFirstRead = false;
    for (const subscriber of this.#subscribers) subscriber.drained?.();
    this.#wallTimes.look();
    this.#startsRead = until;
    this.#lastRead = this.#parts.clock.monotonic();
    this.#follower?.mark(until, position);
    if (this.current === 'starts') this.#startsSettled = milliseconds(until - LOSS_KNOWN_AFTER);
  }

  /** Missed events may also be in auditd's log, until that was read. */
  #settled(until: Duration): void {
    if (this.#follower?.isCatchingUp !== true) this.#startsSettled = until;
  }
}

const isOfOwnProcess = ({ fields }: AuditEvent): boolean => isOwnProcess(Number(fields.pid), Number(fields.ppid));
