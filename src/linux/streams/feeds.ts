import { join } from 'node:path';
import type { BackgroundWriter } from '../../base/background-writer.ts';
import type { Clock } from '../../base/clock.ts';
import { type Duration, milliseconds, seconds } from '../../base/duration.ts';
import type { Logger } from '../../base/log.ts';
import { NoteFile } from '../../base/note-file.ts';
import { isOwnProcess } from '../../base/own-processes.ts';
import { WallTimes } from '../../base/wall-times.ts';
import type { LossReason, SourceStatus, StreamName, StreamSink } from '../../contract/sources.ts';
import { readOptional } from '../../host/bounded-file.ts';
import type { ProcFolder } from '../../host/proc-folder.ts';
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
import type { ProcessTable } from '../processes/process-table.ts';
import type { HeldCount } from '../source-state/held-count.ts';
import { type Feed, SourceLadder } from './source-ladder.ts';

/** Without audit, how long it may take until a start that was lost is known to be. */
const LOSS_KNOWN_AFTER = seconds(8);
/** Of files of /proc about the system as a whole. */
const MAX_BYTES = 16 * 1024;

/** Takes what the feeds report. */
export interface FeedSubscriber {
  /**
   * Takes events of audit, in their order and without the agent's own; also while it needs none, as long as another one
   * does.
   *
   * @param isLive false: they are from auditd's log, from before the agent listened
   */
  acceptAudit?(events: readonly AuditEvent[], isLive: boolean): void;
  /** Called after every drain of the feed that is open: all that it had has been handed over. */
  drained?(): void;
}

interface Parts {
  /** What the sources that are wanted need. */
  readonly wanted: () => { readonly rules: readonly AuditRule[]; readonly feeds: ReadonlySet<Feed> };
  /** Takes starts of programs where they don't come from audit, and counts what either feed has lost. */
  readonly sink: StreamSink;
  /** The streams that a lost event of audit may have been for. */
  readonly audited: readonly StreamName[];
  readonly clock: Clock;
  readonly log: Logger;
  readonly hostRoot: string;
  /** Absent: nothing is remembered, and nothing caught up with. */
  readonly stateDirectory: string | undefined;
  readonly writer: BackgroundWriter | undefined;
  readonly proc: ProcFolder;
  /** Gets every start. */
  readonly table: ProcessTable;
  readonly commandLines: CommandLineSource;
  /** Told how many starts wait for arguments. */
  readonly heldStarts: HeldCount | undefined;
  /** Called when another feed is open than before, or it stands otherwise. */
  readonly changed: () => void;
}

/**
 * What several sources of events take their facts from: the kernel's audit, or where that isn't available, starts of
 * programs by other means. At most one of them is open, the best available one.
 *
 * Keeps the table of processes, catches up with what audit has reported while the agent was away, and knows up to when all
 * starts have been read.
 */
export class Feeds {
  readonly #parts: Parts;
  readonly #ladder: SourceLadder;
  readonly #follower: AuditFollower | undefined;
  readonly #unaudited: UnauditedProcesses | undefined;
  readonly #ringUsers: RingUsers;
  readonly #wallTimes: WallTimes;
  /** Up to when all starts of programs have been read; up to when all that were lost are known as well. */
  #startsRead: Duration;
  #startsSettled: Duration;
  /** Since when the ends of processes have been listened to. */
  #endsSince: Duration;
  /** When audit's reader handed something over, or had nothing more to read. */
  #lastRead: Duration;
  /** Until the first feed has been looked for. */
  #isOpening = true;
  #subscribers: readonly FeedSubscriber[] = [];

  constructor(parts: Parts) {
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
      this.#follower = new AuditFollower({ stateDirectory, hostRoot, deliver, writer, clock, log });
      this.#unaudited = new UnauditedProcesses({
        proc,
        commandLine: readOptional('/proc/cmdline', MAX_BYTES),
        bootId: readOptional('/proc/sys/kernel/random/boot_id', MAX_BYTES)?.trim() ?? '',
        note: new NoteFile(join(stateDirectory, 'audit-enabled.json'), writer),
        clock,
        log,
      });
    }
    this.#ladder = new SourceLadder({
      wanted: () => {
        const { rules, feeds } = parts.wanted();
        return { rules: withRings(rules), feeds };
      },
      audit: { accept: (events) => this.#accept(events), lost: (count) => this.#drop(audited, 'kernel', count) },
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
      interrupted: () => table.startsLost(this.#startsSettled),
      changed: () => parts.changed(),
    });
  }

  /** Hands what the feeds report to these, in this order. To be called before they are opened. */
  subscribe(subscribers: readonly FeedSubscriber[]): void {
    this.#subscribers = subscribers;
  }

  /** The feed that is open; `undefined` when none is. */
  get current(): Feed | undefined {
    return this.#ladder.feed;
  }

  /** How things stand for who needs `feed`. Starts come from either. */
  status(feed: Feed): SourceStatus {
    return this.#ladder.status(feed);
  }

  /**
   * The same for who needs audit's records of system calls: names the processes that audit reports none of. The state stays,
   * since most systems have such processes, and `degraded` for good would hide everything else.
   */
  statusOfCalls(feed: Feed): SourceStatus {
    const status = this.status(feed);
    if (this.current !== 'audit' || status.state === 'off') return status;
    const reasons = [status.reason, this.#unaudited?.reason()].filter((reason) => reason !== undefined);
    return reasons.length === 0 ? status : { ...status, reason: reasons.join(' ') };
  }

  /** When audit was read last: several times a second, also when there is nothing to read. Now, while it isn't open. */
  lastMoved(): Duration {
    return this.current === 'audit' ? this.#lastRead : this.#parts.clock.monotonic();
  }

  /** Up to when all starts of programs have been read: now, where no feed reports any. */
  startsRead(): Duration {
    return this.#hasStarts ? this.#startsRead : this.#parts.clock.monotonic();
  }

  /** Up to when it is known of all starts whether they were lost: now, where no feed reports any. */
  startsSettled(): Duration {
    return this.#hasStarts ? this.#startsSettled : this.#parts.clock.monotonic();
  }

  /** Ends of processes are listened to from then on: what had started before may have ended without anybody noticing. */
  listenToEnds(since: Duration): void {
    this.#endsSince = since;
  }

  /** Opens and closes what `wanted()` says. Never rejects. */
  async refresh(): Promise<void> {
    if (this.#parts.wanted().feeds.has('audit')) await this.#unaudited?.look(() => this.#auditStatus());
    await this.#ladder.start();
    await this.#ladder.refresh();
    this.#isOpening = false;
  }

  /** Catches up with what audit has reported while the agent was away, once and when audit is open. */
  catchUp(): void {
    if (this.current === 'audit') this.#follower?.began(this.status('audit').source === 'auditLog');
  }

  /** Hands over what is left, and closes the feed that is open. */
  async close(): Promise<void> {
    await this.#ladder.stop();
  }

  /** Ends catching up, and notes how far audit has been read. To be called when the sources have closed. */
  async finish(): Promise<void> {
    await this.#follower?.stop();
  }

  get #hasStarts(): boolean {
    return this.current !== undefined || this.#isOpening;
  }

  async #auditStatus(): Promise<AuditStatus> {
    const control = new AuditControl(openNetlink(NETLINK_AUDIT), this.#parts.clock);
    try {
      return await control.status();
    } finally {
      control.close();
    }
  }

  /** Takes what audit reports live. The agent's own activity is not reported. */
  #accept(all: readonly AuditEvent[]): void {
    this.#lastRead = this.#parts.clock.monotonic();
    const events = all.filter((event) => !isOfOwnProcess(event) && this.#follower?.isNew(event) !== false);
    this.#parts.table.acceptAudit(events, this.#wallTimes.reader());
    for (const subscriber of this.#subscribers) subscriber.acceptAudit?.(events, true);
    this.#ringUsers.accept(events);
    this.#follower?.seen(all);
  }

  /** Takes what auditd's log holds from before the agent listened. */
  #acceptPast(events: readonly AuditEvent[]): void {
    const others = events.filter((event) => !isOfOwnProcess(event));
    const timeOf = this.#wallTimes.reader();
    // The end of one that started before ends were listened to may have gone unnoticed; those that live are known from /proc.
    const exitsCovered = others.filter(({ time }) => timeOf(time) >= this.#endsSince);
    this.#parts.table.acceptAudit(exitsCovered, timeOf);
    for (const subscriber of this.#subscribers) subscriber.acceptAudit?.(others, false);
  }

  #drop(stream: StreamName | readonly StreamName[], reason: LossReason, count: number): void {
    const { table, sink } = this.#parts;
    if (reason === 'kernel') table.startsLost(this.#startsSettled);
    sink.drop(stream, reason, count);
  }

  #drained({ until, position }: Progress): void {
    for (const subscriber of this.#subscribers) subscriber.drained?.();
    this.#wallTimes.look();
    this.#startsRead = until;
    this.#lastRead = this.#parts.clock.monotonic();
    this.#follower?.mark(until, position);
    if (this.current === 'starts') this.#startsSettled = milliseconds(until - LOSS_KNOWN_AFTER);
  }

  /** What was missed may be in auditd's log as well, until that has been read. */
  #settled(until: Duration): void {
    if (this.#follower?.isCatchingUp !== true) this.#startsSettled = until;
  }
}

const isOfOwnProcess = ({ fields }: AuditEvent): boolean => isOwnProcess(Number(fields.pid), Number(fields.ppid));
