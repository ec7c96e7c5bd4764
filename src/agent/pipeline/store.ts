/*
 * The segment log: one queue on disk.
 *
 * A log is a folder of segment files, numbered in the order of their creation. Only the newest is written, and only
 * appended to; space is freed by deleting whole files. segment.ts has the format, log-folder.ts manages the files,
 * recovery.ts reads a log back, queue-space.ts enforces the size limit of the two logs.
 *
 * Invariants
 *
 *   1. Each event has a position, one higher than the event before it. Positions are never reused, not even after a
 *      restart, except those of events lost in a power cut, or held only in memory when the process ended.
 *   2. Every segment begins with a checkpoint: the next position, the settled positions, and the account. The state of
 *      a log is its last intact checkpoint plus the records after it. Older segments are needed only for the events in
 *      them, so deleting one never damages the account.
 *   3. At every checkpoint, and after every record: collected = delivered + aggregatedAway + dropped + queued, by event
 *      name, where queued is calculated from the others. Comparing it with the events actually found shows how many are
 *      missing, and under which name, however they were lost.
 *   4. The segments hold the whole state, except for counted losses and a pending checkpoint (`hasPending`), which are
 *      written with the next write. Event bodies are stored only in segments.
 *   5. A segment is deleted only when all its events are settled, and never the newest of the synced ones. So a power
 *      cut costs the account at most what was not synced yet.
 *
 * Operations, and the state after a crash at each point. A *kill* ends the process; writes that returned are in the
 * page cache and survive. A *power cut* also loses unsynced writes, for each file independently, and can restore
 * deleted files.
 *
 *   append     One write for the batch. Killed during it: a torn tail. Its intact records count as appended, although
 *              the call never returned; the torn record is skipped. Power cut: any part of the data not synced yet
 *              is lost. Losses before the last surviving checkpoint are counted as `corrupt`; losses after it cannot be
 *              detected.
 *   roll       When a batch does not fit into the newest segment, or that segment was in use for a sixteenth of the
 *              age limit, a new segment is created: head, checkpoint and batch in one write. Killed during it: an empty
 *              or torn file; the state is that of the previous segment.
 *   settle     The outcome is added to the account and a checkpoint appended; segments with only settled events are
 *              then dead. Killed before the checkpoint: the events are sent again, with the same ids. Dead segments are
 *              deleted after the next sync, so that a power cut cannot keep the deletion and lose the checkpoint.
 *              Killed before: they are found dead, and deleted then. When space is needed they are deleted at once: if
 *              a power cut keeps only the deletion, or on a kill while the disk is too full for the checkpoint, their
 *              events are counted as `corrupt` instead of `delivered`.
 *   evict      A checkpoint that counts the oldest segment as dropped is appended, then the segment is deleted at once.
 *              Killed in between: the segment is found dead. If a power cut keeps the deletion but not the checkpoint,
 *              its events are counted as `corrupt` instead of `cacheFull`. When the disk is too full for the
 *              checkpoint, the order is reversed: killed in between, again `corrupt` instead of `cacheFull`.
 *   expire     Like evict, for segments whose events exceed the age limit, with `expired` instead of `cacheFull`.
 *   sync       Syncs files oldest first, then the folder, then deletes dead segments.
 *   open       Recovers, and begins a new segment; files of earlier runs are only read. Killed during it: the next open
 *              has the same result, since it reads the same files.
 *   move       See below. Killed before it: events that came after the disk failed are lost, which cannot be detected;
 *              events settled since then are sent again, with the same ids. Killed during it: the same for the segments
 *              not moved yet, and a torn tail as after append.
 *
 * While the disk cannot be written (read-only, I/O errors, folder removed; not when it is full), new segments are
 * created in memory, see fallback-files.ts. Those on disk still hold the recoverable state. They are kept until the
 * outcome of their events is on disk, too, unless disk space is needed at once, or they have expired: after a kill
 * their events are then counted as `corrupt`. When the disk can be written again, the segments in memory are moved to
 * it, oldest first, followed by a checkpoint.
 *
 * The agent changes files in the background (background-files.ts): in the same order, but later. So a kill also loses
 * the events of that delay: some microseconds on a healthy disk, a few seconds on one whose syncs take that long.
 * Checkpoints of sources, such as how far the audit log has been read, are written after the events. While a write
 * fails, it and all later ones are kept in memory and retried; new events are kept in memory, too, or dropped when the
 * disk is full, as above. A sync that must precede a deletion or other writes (syncNow) delays those, not the caller;
 * if it fails, they are carried out regardless.
 *
 * When a write fails, the file is truncated to its previous length, and the state is unchanged. If truncating fails
 * too, the segment is closed to writing and the positions of the batch are burnt: marked as settled, so that any part
 * of it that reached the disk is not read as events later.
 */

import type { Clock } from '../../core/base/clock.ts';
import { Account, type DropReason } from '../../core/base/counters.ts';
import type { Duration } from '../../core/base/duration.ts';
import { errnoOf } from '../../core/base/errors.ts';
import { hasLimitedShare } from '../../core/contract/owner.ts';
import type { OutgoingEvent, QueuedEvent } from '../../core/contract/store.ts';
import { isFull, NotWritten } from '../state/background-writer.ts';
import type { FallbackFiles } from './fallback-files.ts';
import { newReadAhead } from './framing.ts';
import { LogFolder, type Medium, mediumOf, sizeIn } from './log-folder.ts';
import { emptySegment, type Recovered, recover, type Segment, tally, unreadLog } from './recovery.ts';
import {
  type Checkpoint,
  checkpointSize,
  type Loss,
  Positions,
  RecordWriter,
  readRecords,
  SEGMENT_HEAD,
} from './segment.ts';

/** An event with its sizes, computed once. */
export interface SizedEvent {
  readonly event: OutgoingEvent;
  readonly jsonBytes: number;
  readonly recordBytes: number;
}

/** Which events are to be taken, if not all. */
export interface EventFilter {
  /** Only events with these names. */
  readonly names?: ReadonlySet<string> | undefined;
  /** Only the event at this position. */
  readonly position?: number;
  /** Not the events at these positions. */
  readonly except?: { has(position: number): boolean };
  /** Only events from this position on. */
  readonly from?: number;
  /** Asked last, for each event in order, until `take` has enough. */
  readonly accepts?: Accepts | undefined;
}

/** @param event its JSON must be read before the function returns */
export type Accepts = (event: { readonly position: number; readonly bytes: number; json(): string }) => boolean;

/** The part of a segment that was read to take events from it. */
interface Span {
  readonly segment: Segment;
  /** The events taken. */
  readonly events: QueuedEvent[];
  /** The positions of all events read, in order: those taken, and those that were not wanted. */
  readonly positions: number[];
  /** Offset after the last event read. */
  end: number;
}

/** A segment whose events are to be dropped, and the reason. */
interface Evicted {
  readonly victim: Segment;
  readonly reason: DropReason;
}

/** Minimum number of segments per age limit, so that a queue that fills slowly does not expire all at once. */
export const SEGMENTS_AN_AGE = 16;

/**
 * Bytes of unwanted events after which `take` looks for no more wanted ones: it blocks the agent. It continues if it has found
 * none, unless the caller decides about each event: then any number may be unwanted.
 */
const MAX_BYTES_PASSED_BY = 4 * 1024 * 1024;

/** One queue on disk; see above. Only one process may write it. */
export class SegmentLog {
  readonly #files: FallbackFiles;
  readonly #path: string;
  readonly #folder: LogFolder<Segment>;
  readonly #segmentBytes: () => number;
  readonly #ageLimit: Duration;
  readonly #clock: Pick<Clock, 'monotonic' | 'now'>;
  readonly #writer = new RecordWriter();
  readonly #readAhead = newReadAhead();
  #account = new Account();
  #done = new Positions();
  #next = 0;
  #lasting = 0;
  #unreadUntil = 0;
  #ranBefore = 0;
  #openedAt = 0;
  /** `#ran` as saved in the last checkpoint. */
  #ranNoted = 0;
  #current: Segment | undefined;
  readonly #losses = new Map<string, Loss>();
  #checkpointPending = false;
  /** Where the events that are taken, but not settled, were read from. */
  #taken: readonly Span[] | undefined;
  #open = false;

  constructor(
    files: FallbackFiles,
    path: string,
    options: {
      /** Size at which a segment is full; a single batch or event may exceed it. */
      segmentBytes: () => number;
      /** Maximum time of an event in the queue while the agent runs; see `expire`. */
      ageLimit: Duration;
      clock: Pick<Clock, 'monotonic' | 'now'>;
    },
  ) {
    this.#files = files;
    this.#path = path;
    this.#folder = new LogFolder<Segment>(files, path, ({ events }) => events > 0);
    this.#segmentBytes = options.segmentBytes;
    this.#ageLimit = options.ageLimit;
    this.#clock = options.clock;
  }

  /**
   * @returns what was found, and the error if the log cannot be written now; writing is retried
   */
  open(): { found: Recovered; error?: unknown } {
    const found = this.#recover();
    this.#folder.open(found.segments, found.nextNumber, found.stateFrom);
    this.#account = found.account;
    this.#done = found.done.copy();
    this.#next = found.next;
    this.#unreadUntil = found.unreadUntil;
    this.#ranBefore = found.ran;
    this.#openedAt = this.#clock.monotonic();
    this.#removeDead();
    this.#checkpointPending = true;
    this.#open = true;
    const error = this.flush();
    return error === undefined ? { found } : { found, error };
  }

  /**
   * Makes the folder, or reads the log in it. If the disk allows neither, new files are made in memory. A log that cannot
   * be read begins at a number and position higher than any that it can contain, so that the next run finds both the
   * old events and the new ones.
   */
  #recover(): Recovered {
    try {
      this.#files.makeFolder(this.#path);
    } catch (error) {
      this.#files.refuse(error);
    }
    try {
      return recover(this.#files, this.#path);
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      this.#files.refuse(error);
      return unreadLog(errnoOf(error) === 'ENOENT' ? 0 : this.#clock.now().getTime());
    }
  }

  /** `next`: the position that the next event gets. `lasting`: events before this position survive a power cut. */
  get positions(): { readonly next: number; readonly lasting: number } {
    return { next: this.#next, lasting: this.#lasting };
  }

  /** Whether the event at a position has neither been delivered nor dropped. */
  isWaiting(position: number): boolean {
    return position < this.#next && !this.#done.has(position);
  }

  /** Bytes used, including framing and segments not deleted yet. */
  bytesIn(medium: Medium): number {
    return this.#folder.bytesIn(medium);
  }

  /** Bytes of segments with queued events, and those of their records that belong to an owner with a limited share. */
  heldIn(medium: Medium, owner: string): { readonly all: number; readonly byOwner: number } {
    const held = this.#folder.files.filter(({ events }) => events > 0);
    const byOwner = held.reduce((sum, one) => (mediumOf(one) === medium ? sum + (one.owners.get(owner) ?? 0) : sum), 0);
    return { all: sizeIn(medium, held), byOwner };
  }

  /** The part of `bytesIn` without dead segments, which are deleted as soon as the disk allows it. */
  neededIn(medium: Medium): number {
    return sizeIn(medium, this.#folder.files);
  }

  /** The part of `bytesIn` that cannot be evicted: segments whose events are taken, and the state on a disk that refuses. */
  pinnedIn(medium: Medium): number {
    const taken = new Set(this.#taken?.map(({ segment }) => segment));
    const isState = (segment: Segment) => this.#files.refuses && this.#folder.holdsState(segment);
    const pinned = this.#folder.files.filter((segment) => taken.has(segment) || isState(segment));
    return sizeIn(medium, pinned);
  }

  /** The size of a segment without events, which is the minimum size of a log. */
  get emptyBytes(): number {
    return SEGMENT_HEAD.length + checkpointSize(this.#checkpoint());
  }

  /** How many events would be lost if the process ended now. */
  get eventsInMemory(): number {
    return this.#folder.files.reduce((all, { inMemory, events }) => (inMemory ? all + events : all), 0);
  }

  get hasPending(): boolean {
    return this.#checkpointPending || this.#losses.size > 0;
  }

  get needsSync(): boolean {
    return this.#folder.needsSync || this.#files.refuses;
  }

  /** How often the caller was blocked by a sync. */
  get waits(): number {
    return this.#folder.waits;
  }

  waiting(): { events: number; elements: number; bytes: number } {
    const total = { events: 0, elements: 0, bytes: 0 };
    for (const { events, bytes, elements } of this.#folder.files) {
      total.events += events;
      total.bytes += bytes;
      for (const count of elements.values()) total.elements += count;
    }
    return total;
  }

  /** Queued elements, by event name. */
  queued(): Map<string, number> {
    const queued = new Map<string, number>();
    for (const { elements } of this.#folder.files) {
      for (const [name, count] of elements) queued.set(name, (queued.get(name) ?? 0) + count);
    }
    return queued;
  }

  account(): Account {
    return this.#account;
  }

  /**
   * The events, from index `start` on, that go into one write: as many as fit into the current segment, or else into a
   * new one, and at most `max` bytes; but at least one.
   */
  fitting(events: readonly SizedEvent[], start: number, max: number): readonly SizedEvent[] {
    const within = (space: number) => {
      let end = start;
      for (let left = Math.min(space, max); left >= (events[end]?.recordBytes ?? Number.POSITIVE_INFINITY); end += 1)
        left -= events[end]?.recordBytes ?? 0;
      return events.slice(start, end);
    };
    const here = this.#writable === undefined ? [] : within(this.#segmentBytes() - this.#writable.size);
    if (here.length > 0) return here;
    const inNew = within(this.#segmentBytes() - this.emptyBytes);
    return inNew.length > 0 ? inNew : events.slice(start, start + 1);
  }

  /** Appends events, in one write. @returns the error, if it failed; then nothing has changed */
  append(events: readonly SizedEvent[]): unknown {
    return this.#write(events);
  }

  /**
   * Counts occurrences that were lost before they were appended: collected and dropped. Written with the next write.
   */
  lose(loss: Loss): void {
    const { name, reason, elements, occurrences } = loss;
    this.#account.collect(name, occurrences);
    this.#account.aggregateAway(name, occurrences - elements);
    this.#account.drop(name, reason, elements);
    const key = `${reason} ${name}`;
    const before = this.#losses.get(key);
    this.#losses.set(key, {
      name,
      reason,
      elements: elements + (before?.elements ?? 0),
      occurrences: occurrences + (before?.occurrences ?? 0),
    });
  }

  /** Writes pending losses and checkpoints, unless the disk cannot be written. @returns the error, if it failed */
  flush(): unknown {
    return this.hasPending && !this.#files.refuses ? this.#write([]) : undefined;
  }

  /**
   * Takes the oldest wanted events whose envelopes fit into `maxBytes`, counting one byte more for each; see
   * EventQueues.take.
   *
   * Only segments that may hold a wanted event are read. Records that cannot be read are skipped. A segment without any
   * readable event is dropped as `corrupt`.
   * @throws the file system's error, except for EIO and ENOENT
   */
  take(maxBytes: number, atLeastOne: boolean, wanted: EventFilter = {}): readonly QueuedEvent[] {
    if (this.#taken !== undefined) throw new Error('Events are taken already.');
    const from: Span[] = [];
    let space = maxBytes;
    let full = false;
    let passedBy = 0;
    for (const segment of this.#folder.files.filter((one) => mayHold(one, wanted))) {
      const span: Span = { segment, events: [], positions: [], end: segment.readFrom };
      for (const record of this.#readWaiting(segment)) {
        const { position, name, elements, occurrences, bytes } = record;
        const isTaken = isWanted(record, wanted) && (wanted.accepts?.(record) ?? true);
        full = isTaken && bytes + 1 > space && !(atLeastOne && from.length === 0 && span.events.length === 0);
        if (full) break;
        span.positions.push(position);
        span.end = record.end;
        if (!isTaken) {
          passedBy += bytes;
          continue;
        }
        span.events.push({ position, name, elements, occurrences, json: record.json(), jsonBytes: bytes });
        space -= bytes + 1;
      }
      if (span.events.length > 0) from.push(span);
      if (full || (mayStop(from, wanted) && passedBy >= MAX_BYTES_PASSED_BY)) break;
      span.end = segment.size;
      if (span.positions.length === 0 && from.length > 0) break;
      if (span.positions.length === 0) this.#giveUp(segment, 'corrupt');
    }
    if (from.length > 0) this.#taken = from;
    return from.flatMap(({ events }) => events);
  }

  /** Whether events are taken, but not settled. */
  get hasTaken(): boolean {
    return this.#taken !== undefined;
  }

  /** Ends `take`; see EventQueues.settle. @returns the error, if the result could not be written; it will be retried */
  settle(outcome: 'delivered' | 'kept' | DropReason, only?: ReadonlySet<number>): unknown {
    if (this.#taken === undefined) throw new Error('No events are taken.');
    const spans = this.#taken;
    const concerns = ({ position }: QueuedEvent) => only?.has(position) ?? true;
    this.#taken = undefined;
    if (outcome === 'kept' || !spans.some(({ events }) => events.some(concerns))) return undefined;
    for (const { segment, events, positions, end } of spans) {
      const settled = events.filter(concerns);
      for (const event of settled) {
        if (outcome === 'delivered') this.#account.deliver(event.name, event.elements);
        else this.#account.drop(event.name, outcome, event.elements);
        tally(segment, event, event.jsonBytes, -1);
      }
      this.#markSettled(segment, positions, new Set(settled.map(({ position }) => position)));
      if (settled.length < positions.length) continue; // it is read again for the events that stay
      segment.readFrom = end;
      if (end === segment.size && segment.events > 0) this.#giveUp(segment, 'corrupt');
    }
    this.#removeDead();
    this.#checkpointPending = true;
    return this.flush();
  }

  /** Marks the settled events of those read, and the positions between them, whose records could not be read. */
  #markSettled({ from }: Segment, read: readonly number[], settled: ReadonlySet<number>): void {
    let next = from;
    for (const position of read.filter((one) => !settled.has(one))) {
      this.#done.add(next, position);
      next = position + 1;
    }
    this.#done.add(next, (read.at(-1) ?? from) + 1);
  }

  /**
   * Drops the oldest segment with queued events of which none is taken.
   *
   * @param mayWait whether to block for a sync if no newer segment has been synced yet; if not, that segment is kept
   * @returns whether that freed anything
   */
  evict(medium: Medium, mayWait: boolean): boolean {
    const victim = this.#notTaken().find((segment) => mediumOf(segment) === medium);
    return victim !== undefined && this.#drop(victim, 'cacheFull', mayWait);
  }

  /**
   * Drops the segments whose events have all been queued for longer than the age limit. Only the agent's running time
   * counts, by the monotonic clock: a step of the wall clock, or a year in a drawer, does not make an event older. An
   * event may exceed the limit by a sixteenth of it, the time for which one segment takes events; after a restart also
   * by the interval between two calls of `noteTime`.
   */
  expire(): void {
    const isOld = ({ lastAt }: Segment) => this.#ran - lastAt >= this.#ageLimit;
    for (const segment of this.#notTaken().filter(isOld)) this.#drop(segment, 'expired', true);
  }

  /** Saves the running time, with the next write and if events are queued, so that the next run knows their age. */
  noteTime(): void {
    this.#checkpointPending ||= this.#ran > this.#ranNoted && this.#folder.files.some(({ events }) => events > 0);
  }

  /** Segments with queued events of which none is taken, oldest first. */
  #notTaken(): Segment[] {
    const taken = new Set(this.#taken?.map(({ segment }) => segment));
    return this.#folder.files.filter((segment) => segment.events > 0 && !taken.has(segment));
  }

  #drop(victim: Segment, reason: DropReason, mayWait: boolean): boolean {
    if (victim.inMemory) {
      this.#giveUp(victim, reason);
      this.#checkpointPending = true;
      return true;
    }
    if (!mayWait && !this.#folder.canDelete(victim)) return false;
    if (!this.#files.refuses) {
      const error = this.#writeToDisk([], { victim, reason });
      if (error === undefined) {
        this.#giveUp(victim, reason);
        return this.free(mayWait);
      }
      if (this.#refuses(error) || !isFull(error)) return false;
    }
    // A segment that a refusing disk keeps is still given up, and deleted once the disk recovers.
    const isGivenUp = this.#files.refuses && !this.#folder.holdsState(victim);
    if (!this.#folder.delete(victim, mayWait) && !isGivenUp) return false;
    this.#giveUp(victim, reason);
    this.#checkpointPending = true;
    return true;
  }

  /** Deletes segments without queued events: dead ones, and the current one if all its events are settled. */
  reclaim(mayWait: boolean): boolean {
    const error = this.flush();
    if (error !== undefined && !isFull(error)) return false;
    const freed = this.free(mayWait);
    const current = this.#current;
    if (current === undefined || current.events > 0 || current.size < 2 * this.emptyBytes) return freed;
    if (this.#files.refuses) return freed;
    if (!mayWait && !this.#folder.canDelete(current)) return freed;
    const cannotWrite = this.#writeToDisk([], { victim: current, reason: 'cacheFull' });
    return !this.#refuses(cannotWrite) && cannotWrite === undefined && this.free(mayWait);
  }

  /** Deletes dead segments now. @returns whether there were any */
  free(mayWait: boolean): boolean {
    return this.#folder.free(mayWait);
  }

  /**
   * Moves segments from memory to the disk, oldest first. The caller must call `flush` once `FallbackFiles.accept` has
   * been called, to write the checkpoint.
   * @returns the error, if it failed; the remaining segments can be moved later
   */
  moveToDisk(): unknown {
    try {
      this.#folder.moveToDisk();
    } catch (error) {
      return error;
    }
    this.#removeDead();
    this.#checkpointPending = true;
    return undefined;
  }

  /** Makes earlier writes survive a power cut. Does nothing for those that are still in memory since writing failed. */
  async sync(): Promise<void> {
    try {
      await this.#sync();
    } catch (error) {
      if (!(error instanceof NotWritten)) throw error;
    }
  }

  async #sync(): Promise<void> {
    const isUnsure = ({ inMemory, inDoubt, events }: Segment) => inMemory || (inDoubt && events > 0);
    const written = this.#folder.files.some(isUnsure) ? this.#lasting : this.#next;
    await this.#folder.sync({
      keepDead: this.#checkpointPending || this.#files.refuses,
      isWritten: (segment) => segment === this.#current,
      failed: (segment) => {
        segment.inDoubt = true;
        if (segment === this.#current) this.#current = undefined;
        this.#checkpointPending = true;
      },
    });
    this.#lasting = written;
  }

  close(): void {
    this.#folder.close();
    this.#current = undefined;
    this.#open = false;
  }

  *#readWaiting(segment: Segment) {
    try {
      for (const record of readRecords(this.#files, segment.path, segment.readFrom, segment.size, this.#readAhead)) {
        if (record.type === 'event' && !this.#done.has(record.position)) yield record;
      }
    } catch (error) {
      if (errnoOf(error) !== 'EIO' && errnoOf(error) !== 'ENOENT') throw error;
    }
  }

  get #ran(): number {
    return this.#ranBefore + Math.floor(this.#clock.monotonic() - this.#openedAt);
  }

  #checkpoint(): Checkpoint {
    return { next: this.#next, ran: this.#ran, done: this.#done, account: this.#account };
  }

  /** The checkpoint after `victim` has been dropped. */
  #checkpointWithout({ victim, reason }: Evicted): Checkpoint {
    const account = Account.from(this.#account.toJSON());
    const done = this.#done.copy();
    for (const [name, elements] of victim.elements) account.drop(name, reason, elements);
    done.add(victim.from, victim.to);
    return { next: this.#next, ran: this.#ran, done, account };
  }

  /** Writes events and pending losses or checkpoints: to the disk, or to memory if the disk cannot be written. */
  #write(events: readonly SizedEvent[]): unknown {
    if (!this.#open) return new Error('The log is closed.');
    const error = this.#writeToDisk(events, undefined);
    return this.#refuses(error) ? this.#tryToWrite(events, undefined) : error;
  }

  /** Retries once if deleting dead segments has freed space. */
  #writeToDisk(events: readonly SizedEvent[], without: Evicted | undefined): unknown {
    const error = this.#tryToWrite(events, without);
    return isFull(error) && this.free(true) ? this.#tryToWrite(events, without) : error;
  }

  /** Whether an error means that the disk cannot be written; not if freeing space could help. Then uses memory. */
  #refuses(error: unknown): boolean {
    const refuses = errnoOf(error) !== undefined && !isFull(error);
    if (refuses) this.#files.refuse(error);
    return refuses;
  }

  /** The current segment, if it is in the medium that is written now. */
  get #writable(): Segment | undefined {
    return this.#current?.inMemory === this.#files.refuses ? this.#current : undefined;
  }

  /** @param without a segment that the checkpoint counts as dropped; if it is the current one, a new one is created */
  #tryToWrite(events: readonly SizedEvent[], without: Evicted | undefined): unknown {
    let segment = without !== undefined && this.#current === without.victim ? undefined : this.#writable;
    if (segment !== undefined) {
      this.#compose(events, { head: false, without });
      const full = segment.size + this.#writer.bytes.length > this.#segmentBytes();
      const old = this.#ran - segment.firstAt > this.#ageLimit / SEGMENTS_AN_AGE;
      if (full && segment.size > 2 * this.emptyBytes) segment = undefined;
      else if ((full || old) && segment.events > 0) segment = undefined;
    }
    const rolls = segment === undefined;
    if (rolls) this.#compose(events, { head: true, without });
    const { bytes } = this.#writer;
    try {
      segment ??= emptySegment(this.#folder.create(), this.#next);
      this.#folder.append(segment, bytes);
    } catch (error) {
      if (segment !== undefined && !this.#folder.undo(segment)) this.#skipPositions(events.length);
      return error ?? new Error('unknown');
    }
    if (rolls) {
      this.#folder.add(segment);
      this.#current = segment;
    }
    if (rolls || this.#checkpointPending || without !== undefined) this.#ranNoted = this.#ran;
    this.#checkpointPending = false;
    this.#losses.clear();
    if (segment.events === 0) segment.firstAt = this.#ran;
    if (events.length > 0) segment.lastAt = this.#ran;
    for (const { event, jsonBytes, recordBytes } of events) {
      const { owner } = event;
      if (hasLimitedShare(owner)) segment.owners.set(owner, (segment.owners.get(owner) ?? 0) + recordBytes);
      this.#account.collect(event.name, event.occurrences);
      this.#account.aggregateAway(event.name, event.occurrences - event.elements);
      tally(segment, event, jsonBytes, 1);
    }
    this.#next += events.length;
    segment.to = this.#next;
    if (rolls) this.#removeDead();
    return undefined;
  }

  #compose(events: readonly SizedEvent[], { head, without }: { head: boolean; without: Evicted | undefined }): void {
    const writer = this.#writer;
    writer.clear();
    if (head) writer.head();
    if (without !== undefined) writer.checkpoint(this.#checkpointWithout(without));
    else if (head || this.#checkpointPending) writer.checkpoint(this.#checkpoint());
    else for (const loss of this.#losses.values()) writer.loss(loss);
    let position = this.#next;
    for (const { event, jsonBytes } of events) writer.event(position++, event, event.json, jsonBytes);
  }

  /**
   * After a failed write that could not be undone, later writes must go to a file with a higher number: the partial write
   * may contain a checkpoint, and the last checkpoint determines the state.
   */
  #skipPositions(positions: number): void {
    this.#current = undefined;
    this.#done.add(this.#next, this.#next + positions);
    this.#next += positions;
    this.#checkpointPending = true;
  }

  /** Counts all queued events of a segment as dropped. */
  #giveUp(segment: Segment, reason: DropReason): void {
    for (const [name, elements] of segment.elements) if (elements > 0) this.#account.drop(name, reason, elements);
    segment.elements.clear();
    segment.events = 0;
    segment.bytes = 0;
    segment.readFrom = segment.size;
    this.#done.add(segment.from, segment.to);
    this.#checkpointPending ||= reason === 'corrupt';
    this.#removeDead();
  }

  /** Finds dead segments, and marks all positions before the first queued event as settled, except for unread ones. */
  #removeDead(): void {
    for (const { events, owners } of this.#folder.files) if (events === 0) owners.clear();
    const dead = this.#folder.removeDead();
    if (dead.some((segment) => segment === this.#current)) this.#current = undefined;
    this.#done.add(this.#unreadUntil, this.#folder.files.find(({ events }) => events > 0)?.from ?? this.#next);
  }
}

/** Whether a segment may hold a requested queued event, as far as is known without reading it. */
const mayHold = ({ events, elements, from, to }: Segment, { names, position, from: first = 0 }: EventFilter): boolean =>
  events > 0 &&
  to > first &&
  (position === undefined || (position >= from && position < to)) &&
  (names === undefined || [...elements].some(([name, count]) => count > 0 && names.has(name)));

export const isWanted = (
  event: Pick<QueuedEvent, 'name' | 'position'>,
  { names, position, except, from = 0 }: EventFilter,
): boolean =>
  event.position >= from &&
  (position === undefined || event.position === position) &&
  (names?.has(event.name) ?? true) &&
  !except?.has(event.position);

const mayStop = (found: readonly Span[], { accepts }: EventFilter): boolean =>
  found.length > 0 || accepts !== undefined;
