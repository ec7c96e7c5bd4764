import type { Clock } from '../../../core/base/clock.ts';
import { type Duration, milliseconds } from '../../../core/base/duration.ts';
import type { Logger } from '../../../core/base/log.ts';
import type { LossReason, StreamName, StreamSink } from '../../../core/contract/streams.ts';
import { isOwnProcess } from '../../host/own-processes.ts';
import type { ProcFolder } from '../../host/proc-folder.ts';
import type { BackgroundWriter } from '../../state/background-writer.ts';
import { AuditFollower } from '../audit/audit-follower.ts';
import type { Beginning } from '../audit/audit-log-source.ts';
import type { Progress } from '../audit/audit-source.ts';
import type { AuditEvent } from '../audit/event.ts';
import { LOSS_KNOWN_AFTER, type ProcessTable } from '../processes/process-table.ts';
import type { ReadTimes } from './read-times.ts';
import type { Feed } from './source-ladder.ts';

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

export interface DeliveryParts {
  /** Receives the losses of both feeds. */
  readonly sink: StreamSink;
  readonly clock: Clock;
  readonly log: Logger;
  readonly hostRoot: string;
  /** If omitted, no state is kept, and missed events are not read from auditd's log. */
  readonly stateDirectory: string | undefined;
  readonly writer: BackgroundWriter | undefined;
  readonly proc: ProcFolder;
  /** Gets every start. */
  readonly table: ProcessTable;
  readonly times: ReadTimes;
}

/**
 * Delivers what the open feed reports to the process table and the subscribers, without the agent's own activity. Also
 * delivers what audit reported while the agent was not running, from auditd's log.
 */
export class FeedDelivery {
  readonly #parts: DeliveryParts;
  readonly #follower: AuditFollower | undefined;
  /** Until everything was read that had arrived when reading began. */
  #isFirstRead = true;
  #subscribers: readonly FeedSubscriber[] = [];

  constructor(parts: DeliveryParts) {
    this.#parts = parts;
    const { stateDirectory, hostRoot, writer, clock, log, sink } = parts;
    if (stateDirectory === undefined) return;
    const deliver = (events: readonly AuditEvent[]) => this.#acceptPast(events);
    const isBehind = () => sink.isBehind?.() === true;
    this.#follower = new AuditFollower({ stateDirectory, hostRoot, deliver, isBehind, writer, clock, log });
  }

  /** Subscribers receive what the feeds report, in this order. Call this before the feeds are opened. */
  subscribe(subscribers: readonly FeedSubscriber[]): void {
    this.#subscribers = subscribers;
  }

  /** The position in auditd's log where the last run ended. */
  resume(): Beginning {
    return this.#follower?.resume() ?? {};
  }

  /** Audit was opened: reads once what it reported before, unless the source is auditd's log itself. */
  auditOpened(readsLog: boolean): void {
    this.#follower?.began(readsLog);
  }

  /** Audit events from the kernel. */
  accept(all: readonly AuditEvent[]): void {
    const events = all.filter((event) => !isOfOwnProcess(event));
    this.#pass(events);
    if (this.#isFirstRead) this.#forgetExited(events);
    this.#follower?.seen(all);
  }

  /** Events of auditd's log, if that is the source; at first also those that it had before. */
  acceptLogged(all: readonly AuditEvent[]): void {
    const events = all.filter((event) => !isOfOwnProcess(event) && this.#follower?.isNew(event) !== false);
    this.#pass(events, this.#follower?.readsPast === true ? this.#withExits(events) : events);
    this.#follower?.seen(all);
  }

  /** Records that the kernel or the source dropped. */
  drop(stream: StreamName | readonly StreamName[], reason: LossReason, count: number): void {
    if (reason === 'kernel') this.interrupted();
    this.#parts.sink.drop(stream, reason, count);
  }

  /** Starts since the last settled time may be missing. */
  interrupted(): void {
    const { table, times } = this.#parts;
    table.startsLost(times.lastSettled);
  }

  /** Everything that the feed had was delivered. */
  drained({ until, position }: Progress, feed: Feed | undefined): void {
    const { times } = this.#parts;
    this.#isFirstRead = false;
    for (const subscriber of this.#subscribers) subscriber.drained?.();
    times.drained(until);
    this.#follower?.mark(until, position);
    if (feed === 'starts') times.settled(milliseconds(until - LOSS_KNOWN_AFTER));
  }

  /** Everything up to `until` was delivered or counted as lost. Missed events may also be in auditd's log, until that was read. */
  settled(until: Duration): void {
    if (this.#follower?.isCatchingUp !== true) this.#parts.times.settled(until);
  }

  /** Stops catching up, and saves the position in audit. Call this when the sources have closed. */
  async finish(): Promise<void> {
    await this.#follower?.stop();
  }

  /** Events of auditd's log from before the agent listened to the kernel. */
  #acceptPast(all: readonly AuditEvent[]): void {
    const { table, times } = this.#parts;
    const events = all.filter((event) => !isOfOwnProcess(event));
    table.acceptAudit(this.#withExits(events), times.reader());
    for (const subscriber of this.#subscribers) subscriber.acceptAudit?.(events, false);
  }

  /** @param known the starts that the process table receives */
  #pass(events: readonly AuditEvent[], known = events): void {
    const { table, times } = this.#parts;
    times.read();
    table.acceptAudit(known, times.reader());
    for (const subscriber of this.#subscribers) subscriber.acceptAudit?.(events, true);
  }

  /** A process that started before exits were received may have exited unnoticed; the running ones are known from /proc. */
  #withExits(events: readonly AuditEvent[]): readonly AuditEvent[] {
    const receivedExits = this.#parts.times.receivedExits();
    return events.filter(({ time }) => receivedExits(time));
  }

  /** A process that started before exits were received, while audit's records waited, may have exited unnoticed. */
  #forgetExited(events: readonly AuditEvent[]): void {
    const { proc, table, times } = this.#parts;
    const receivedExits = times.receivedExits();
    for (const { time, fields } of events) {
      const pid = Number(fields.pid);
      if (!receivedExits(time) && proc.inode(pid) === undefined) table.ended(pid);
    }
  }
}

const isOfOwnProcess = ({ fields }: AuditEvent): boolean => isOwnProcess(Number(fields.pid), Number(fields.ppid));
