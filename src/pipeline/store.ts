/*
 * The segment log: one queue on disk.
 *
 * A log is a folder of segment files, numbered in the order they were made. Only the newest is written, and only at its
 * end; a file is never changed otherwise, and space is freed by deleting whole files. segment.ts has the format,
 * segment-folder.ts knows the files, recovery.ts reads a log back, room.ts decides how much room the two logs may take.
 *
 * Invariants
 *
 *   1. Each event has a position, one more than the event before. Positions are never used twice, over restarts too,
 *      except for those of events that a power cut took, or that were in memory only when the process ended.
 *   2. Every segment begins with a checkpoint: the next position, the positions that are done with, and the account.
 *      The state of a log is its last intact checkpoint and the records behind it. Older segments are needed for the
 *      events in them and nothing else, so any of them may go at any time without costing the account.
 *   3. At every checkpoint, and after every record: collected = delivered + aggregatedAway + dropped + queued, by name,
 *      where queued is what the account leaves over. So the queue's true contents, compared with it, show what is
 *      missing and under which name: nothing has to be known about how it was lost.
 *   4. What the log knows is in its segments, but for losses that were counted and a checkpoint that is owed (`owes`),
 *      which go out with the next write. Event bodies are nowhere else.
 *   5. A segment is deleted only when all its events are done with, and never the newest of those that are synced. So a
 *      power cut never costs more of the account than the last unsynced second.
 *
 * Operations, and what a crash at each point of them leaves. A *kill* ends the process: every write that returned is in
 * the kernel's hands. A *power cut* also takes writes that were not synced, of each file on its own, and can bring back
 * deleted files.
 *
 *   append     One write for the batch. Killed in it: a torn tail, whose intact records count as appended, though their
 *              caller never heard of it; the torn record is skipped. Power cut: the last unsynced second is gone, by
 *              any part. Gone before the last checkpoint that survived, it is counted as `corrupt`; behind it, nobody
 *              ever knows.
 *   roll       When a batch does not fit the newest segment, or that has taken events for a sixteenth of the age limit,
 *              the next one is made: head, checkpoint and batch in one write. Killed in it: an empty or torn file; the
 *              state is that of the segment before.
 *   settle     The outcome is booked and a checkpoint appended; then segments whose events are all done with are dead.
 *              Killed before the checkpoint: the events are sent again, with the same ids. Dead segments are deleted
 *              after the next sync, so that a power cut cannot keep the deletion and lose the checkpoint. Killed
 *              before: they are found dead, and deleted then. When room is needed they go at once: a power cut that
 *              keeps only the deletion, or a kill on a disk too full for the checkpoint, then has their events counted
 *              as `corrupt` instead of `delivered`.
 *   evict      A checkpoint that books the oldest segment as dropped is appended, then it is deleted, at once. Killed
 *              between: the segment is found dead. Power cut that keeps the deletion but not the checkpoint: its events
 *              are counted as `corrupt` instead of `cacheFull`. When the disk is too full for the checkpoint, the order
 *              is reversed: killed between, again `corrupt` instead of `cacheFull`.
 *   expire     The same, for segments whose events are older than the age limit, with `expired` in place of `cacheFull`.
 *   sync       Files are synced oldest first, then the folder, then the dead are deleted.
 *   open       Recovers, and begins a new segment; files of earlier runs are only read. Killed in it: the next open
 *              comes to the same result, since all it found out is derived from what is still there.
 *   move       See below. Killed before it: what came since the disk refused is gone, and nobody ever knows, as after a
 *              power cut; what was settled since is sent again, with the same ids. Killed in it: the same for what was
 *              not moved yet, and a torn tail as after append.
 *
 * While the disk refuses to be written (it is read-only, fails, its folder is gone; but not when it is full), new segments
 * are made in memory, see fallback-files.ts. Those on disk still hold the state that would be recovered, and stay until a
 * record of what became of their events is on disk, too; unless the disk must have room at once, or they are too old: a
 * kill then has their events counted as `corrupt`. When the disk takes files again, the segments in memory are moved to
 * it, oldest first, and a checkpoint follows.
 *
 * In the agent, files are changed in the background (background-files.ts): in the same order, a moment later. So a kill
 * finds the disk as it would have been that moment earlier, and costs the events of that moment: some microseconds on a
 * healthy disk, a few seconds on one whose every sync takes as long. What says that events have been taken in, such as how
 * far audit has been read, is written behind them. While a write fails, it and all behind it wait in memory and are tried
 * again; new events then wait there, too, or are dropped when the disk is full, as above. A sync that must come before a
 * deletion or before other writes (syncNow) holds those up, not the caller; when it fails they follow all the same.
 *
 * When a write fails, what it left is truncated away, and the state is as before it. If truncating fails too, the
 * segment is closed to writing and the positions of the batch are burnt: marked as done, so that whatever of it reached
 * the disk is not taken for events later.
 */
import { NotWritten } from '../base/background-writer.ts';
import type { Clock } from '../base/clock.ts';
import { Account, type DropReason } from '../base/counters.ts';
import type { Duration } from '../base/duration.ts';
import { errnoOf } from '../base/errors.ts';
import type { OutgoingEvent, QueuedEvent } from '../contract/store.ts';
import type { FallbackFiles } from './fallback-files.ts';
import { newReadAhead } from './framing.ts';
import { Positions } from './positions.ts';
import { type Recovered, type Segment, tally } from './recovery.ts';
import { type Checkpoint, checkpointSize, type Loss, RecordWriter, readRecords, SEGMENT_HEAD } from './segment.ts';
import { closeFile, type Medium, mediumOf, SegmentFolder, sizeIn } from './segment-folder.ts';

/** An event with its sizes, which are worth working out only once. */
export interface SizedEvent {
  readonly event: OutgoingEvent;
  readonly jsonBytes: number;
  readonly recordBytes: number;
}

/** Events that were taken and not settled yet, and the segments they came from. */
interface Taken {
  readonly events: readonly QueuedEvent[];
  readonly from: readonly Span[];
}

interface Span {
  readonly segment: Segment;
  readonly events: QueuedEvent[];
  /** Where to read on. */
  end: number;
}

/** A segment whose events are going to be dropped, and why. */
interface GivenUp {
  readonly victim: Segment;
  readonly reason: DropReason;
}

/** How many segments an age is cut into at least, so that a queue that fills slowly does not grow old as a whole. */
export const SEGMENTS_AN_AGE = 16;

/** One queue on disk; see above. Not a writer for several processes. */
export class SegmentLog {
  readonly #files: FallbackFiles;
  readonly #folder: SegmentFolder;
  readonly #segmentBytes: () => number;
  readonly #ageLimit: Duration;
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #writer = new RecordWriter();
  readonly #readAhead = newReadAhead();
  #account = new Account();
  #done = new Positions();
  #next = 0;
  #lasting = 0;
  #ranBefore = 0;
  #openedAt = 0;
  /** As the last checkpoint says. */
  #ranNoted = 0;
  #current: Segment | undefined;
  readonly #losses = new Map<string, Loss>();
  #checkpointOwed = false;
  #taken: Taken | undefined;
  #open = false;

  constructor(
    files: FallbackFiles,
    path: string,
    options: {
      /** A segment that has reached this is full; a single batch or event may go beyond. */
      segmentBytes: () => number;
      /** How long an event may wait while the agent runs; see `expire`. */
      ageLimit: Duration;
      clock: Pick<Clock, 'monotonic'>;
    },
  ) {
    this.#files = files;
    this.#folder = new SegmentFolder(files, path);
    this.#segmentBytes = options.segmentBytes;
    this.#ageLimit = options.ageLimit;
    this.#clock = options.clock;
  }

  /**
   * @returns what was found, and the error when the log can be read but not written now; it will try again
   * @throws when it cannot even be read
   */
  open(): { found: Recovered; error?: unknown } {
    const found = this.#folder.open();
    this.#account = found.account;
    this.#done = found.done.copy();
    this.#next = found.next;
    this.#ranBefore = found.ran;
    this.#openedAt = this.#clock.monotonic();
    this.#bury();
    this.#checkpointOwed = true;
    this.#open = true;
    const error = this.flush();
    return error === undefined ? { found } : { found, error };
  }

  /** The position the next event gets; up to which position all events outlast a power cut. */
  get positions(): { readonly next: number; readonly lasting: number } {
    return { next: this.#next, lasting: this.#lasting };
  }

  /** Bytes that are used, framing and what is not deleted yet included. */
  bytesIn(medium: Medium): number {
    return this.#folder.bytesIn(medium);
  }

  /** Of them, those that eviction cannot free: taken, and waiting to be settled. */
  pinnedIn(medium: Medium): number {
    return sizeIn(medium, this.#taken?.from.map(({ segment }) => segment) ?? []);
  }

  /** What a segment without events takes, and therefore the least that a log takes. */
  get emptyBytes(): number {
    return SEGMENT_HEAD.length + checkpointSize(this.#checkpoint());
  }

  /** How many events would be lost if the process ended now. */
  get eventsInMemory(): number {
    return this.#folder.segments.reduce((all, { inMemory, events }) => (inMemory ? all + events : all), 0);
  }

  get owes(): boolean {
    return this.#checkpointOwed || this.#losses.size > 0;
  }

  get needsSync(): boolean {
    return this.#folder.needsSync || this.#files.refuses;
  }

  /** How often the caller was held up until the disk had synced. */
  get waits(): number {
    return this.#folder.waits;
  }

  waiting(): { events: number; elements: number; bytes: number } {
    const total = { events: 0, elements: 0, bytes: 0 };
    for (const { events, bytes, elements } of this.#folder.segments) {
      total.events += events;
      total.bytes += bytes;
      for (const count of elements.values()) total.elements += count;
    }
    return total;
  }

  /** Elements that wait, by name. */
  queued(): Map<string, number> {
    const queued = new Map<string, number>();
    for (const { elements } of this.#folder.segments) {
      for (const [name, count] of elements) queued.set(name, (queued.get(name) ?? 0) + count);
    }
    return queued;
  }

  account(): Account {
    return this.#account;
  }

  /**
   * The events, from `start` on, that go into one write: as many as the segment has room for, or a new one would have,
   * and no more than `most` bytes; but at least one.
   */
  fitting(events: readonly SizedEvent[], start: number, most: number): readonly SizedEvent[] {
    const within = (room: number) => {
      let end = start;
      for (let left = Math.min(room, most); left >= (events[end]?.recordBytes ?? Number.POSITIVE_INFINITY); end += 1)
        left -= events[end]?.recordBytes ?? 0;
      return events.slice(start, end);
    };
    const here = this.#writable === undefined ? [] : within(this.#segmentBytes() - this.#writable.size);
    if (here.length > 0) return here;
    const anew = within(this.#segmentBytes() - this.emptyBytes);
    return anew.length > 0 ? anew : events.slice(start, start + 1);
  }

  /** Takes events in, in one write. @returns why it could not; then nothing has changed */
  append(events: readonly SizedEvent[]): unknown {
    return this.#write(events);
  }

  /** Counts what never came in, or was merged away before: collected and dropped. On disk with the next write. */
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

  /** Writes what the log owes. Not into memory, since it is there already. @returns why it could not */
  flush(): unknown {
    return this.owes && !this.#files.refuses ? this.#write([]) : undefined;
  }

  /**
   * The oldest events whose envelopes, and a byte for each, fit into `roomBytes`; see EventQueues.take.
   *
   * What cannot be read from the disk is skipped. A segment that yields nothing any more is given up as `corrupt`.
   * @throws what the file system says, unless that means damage
   */
  take(roomBytes: number, atLeastOne: boolean): readonly QueuedEvent[] {
    if (this.#taken !== undefined) throw new Error('Events are taken already.');
    const from: Span[] = [];
    let room = roomBytes;
    let full = false;
    for (const segment of this.#folder.segments.filter(({ events }) => events > 0)) {
      const span: Span = { segment, events: [], end: segment.readFrom };
      for (const record of this.#readWaiting(segment)) {
        full = record.bytes + 1 > room && !(atLeastOne && from.length === 0 && span.events.length === 0);
        if (full) break;
        const { position, name, elements, occurrences, bytes } = record;
        span.events.push({ position, name, elements, occurrences, json: record.json(), jsonBytes: bytes });
        span.end = record.end;
        room -= bytes + 1;
      }
      if (span.events.length > 0) from.push(span);
      if (full) break;
      span.end = segment.size;
      if (span.events.length === 0 && from.length > 0) break;
      if (span.events.length === 0) this.#giveUp(segment, 'corrupt');
    }
    const events = from.flatMap((span) => span.events);
    if (events.length > 0) this.#taken = { events, from };
    return events;
  }

  /** Ends what `take` began; see EventQueues.settle. @returns why it is not on disk yet */
  settle(outcome: 'delivered' | 'kept' | DropReason, only?: ReadonlySet<number>): unknown {
    if (this.#taken === undefined) throw new Error('No events are taken.');
    const { events, from } = this.#taken;
    const concerns = ({ position }: QueuedEvent) => outcome !== 'kept' && (only?.has(position) ?? true);
    this.#taken = undefined;
    if (!events.some(concerns)) return undefined;
    for (const { name, elements } of events.filter(concerns)) {
      if (outcome === 'delivered') this.#account.deliver(name, elements);
      else if (outcome !== 'kept') this.#account.drop(name, outcome, elements);
    }
    for (const { segment, events: ofSegment, end } of from) {
      const settled = ofSegment.filter(concerns);
      for (const event of settled) tally(segment, event, event.jsonBytes, -1);
      if (settled.length < ofSegment.length) continue; // it will be read again for what stays
      segment.readFrom = end;
      if (end === segment.size && segment.events > 0) this.#giveUp(segment, 'corrupt');
    }
    let settledUpTo = 0;
    for (const event of events) {
      if (concerns(event)) continue;
      this.#done.add(settledUpTo, event.position);
      settledUpTo = event.position + 1;
    }
    this.#done.add(settledUpTo, (events.at(-1)?.position ?? -1) + 1);
    this.#bury();
    this.#checkpointOwed = true;
    return this.flush();
  }

  /**
   * Drops the oldest segment that has events, none of them taken.
   *
   * @param mayWait for the disk, when nothing newer than that segment has been synced yet; otherwise it stays
   * @returns whether that freed anything
   */
  evict(medium: Medium, mayWait: boolean): boolean {
    const victim = this.#untaken().find((segment) => mediumOf(segment) === medium);
    return victim !== undefined && this.#drop(victim, 'cacheFull', mayWait);
  }

  /**
   * Drops the segments whose events have all waited for longer than the age limit. Only time counts in which the agent
   * ran, by the monotonic clock: no step of the wall clock, and no year in a drawer, makes an event older. An event goes
   * up to a sixteenth of the limit later than its time, since no segment takes events for longer than that; after a
   * restart, up to the time between two notes later again.
   */
  expire(): void {
    const isOld = ({ lastAt }: Segment) => this.#ran - lastAt >= this.#ageLimit;
    for (const segment of this.#untaken().filter(isOld)) this.#drop(segment, 'expired', true);
  }

  /** Has the next run know how old the events are, if any wait: the time goes out with the next write. */
  noteTime(): void {
    this.#checkpointOwed ||= this.#ran > this.#ranNoted && this.#folder.segments.some(({ events }) => events > 0);
  }

  /** Segments with events that wait, none of them taken; the oldest first. */
  #untaken(): Segment[] {
    const taken = new Set(this.#taken?.from.map(({ segment }) => segment));
    return this.#folder.segments.filter((segment) => segment.events > 0 && !taken.has(segment));
  }

  #drop(victim: Segment, reason: DropReason, mayWait: boolean): boolean {
    if (victim.inMemory) {
      this.#giveUp(victim, reason);
      this.#checkpointOwed = true;
      return true;
    }
    if (!mayWait && !this.#folder.outlasts(victim)) return false;
    if (!this.#files.refuses) {
      const error = this.#writeToDisk([], { victim, reason });
      if (error === undefined) {
        this.#giveUp(victim, reason);
        return this.free(mayWait);
      }
      if (this.#refuses(error) || !isFull(error)) return false;
    }
    if (!this.#folder.delete(victim, mayWait)) return false;
    this.#giveUp(victim, reason);
    this.#checkpointOwed = true;
    return true;
  }

  /** Frees what holds no event that waits: dead segments, and a newest one that is nothing but past. */
  reclaim(mayWait: boolean): boolean {
    const error = this.flush();
    if (error !== undefined && !isFull(error)) return false;
    const freed = this.free(mayWait);
    const current = this.#current;
    if (current === undefined || current.events > 0 || current.size < 2 * this.emptyBytes) return freed;
    if (this.#files.refuses) return freed;
    if (!mayWait && !this.#folder.outlasts(current)) return freed;
    const cannotWrite = this.#writeToDisk([], { victim: current, reason: 'cacheFull' });
    return !this.#refuses(cannotWrite) && cannotWrite === undefined && this.free(mayWait);
  }

  /** Deletes dead segments now. @returns whether there were any */
  free(mayWait: boolean): boolean {
    return this.#folder.free(mayWait);
  }

  /**
   * Moves what is in memory to the disk, oldest first. What the log owes then goes out with the next `flush`, which is
   * to follow when the disk has been accepted.
   * @returns why it cannot be moved; what is left can be moved later
   */
  moveToDisk(): unknown {
    try {
      this.#folder.moveToDisk();
    } catch (error) {
      return error;
    }
    this.#bury();
    this.#checkpointOwed = true;
    return undefined;
  }

  /** Makes what was written before the call outlast a power cut, unless the disk refuses even that. */
  async sync(): Promise<void> {
    try {
      await this.#sync();
    } catch (error) {
      if (!(error instanceof NotWritten)) throw error;
    }
  }

  async #sync(): Promise<void> {
    const isUnsure = ({ inMemory, inDoubt, events }: Segment) => inMemory || (inDoubt && events > 0);
    const written = this.#folder.segments.some(isUnsure) ? this.#lasting : this.#next;
    await this.#folder.sync({
      keepDead: this.#checkpointOwed || this.#files.refuses,
      isWritten: (segment) => segment === this.#current,
      failed: (segment) => {
        // The kernel may have thrown the pages away and called them clean: another sync would prove nothing.
        segment.inDoubt = true;
        if (segment === this.#current) this.#current = undefined;
        this.#checkpointOwed = true;
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

  /** As it will be once `victim` has been given up. */
  #checkpointWithout({ victim, reason }: GivenUp): Checkpoint {
    const account = Account.from(this.#account.toJSON());
    const done = this.#done.copy();
    for (const [name, elements] of victim.elements) account.drop(name, reason, elements);
    done.add(victim.from, victim.to);
    return { next: this.#next, ran: this.#ran, done, account };
  }

  /** Writes events and what the log owes: to the disk, or into memory when that refuses. */
  #write(events: readonly SizedEvent[]): unknown {
    if (!this.#open) return new Error('The log is closed.');
    const error = this.#writeToDisk(events, undefined);
    return this.#refuses(error) ? this.#tryToWrite(events, undefined) : error;
  }

  /** A second try follows if deleting dead segments made room for it. */
  #writeToDisk(events: readonly SizedEvent[], without: GivenUp | undefined): unknown {
    const error = this.#tryToWrite(events, without);
    return isFull(error) && this.free(true) ? this.#tryToWrite(events, without) : error;
  }

  /** Whether the error says that the disk cannot be written, by nothing that freeing room could mend. */
  #refuses(error: unknown): boolean {
    const refuses = errnoOf(error) !== undefined && !isFull(error);
    if (refuses) this.#files.refuse(error);
    return refuses;
  }

  /** The segment to go on with, if it is where it belongs now. */
  get #writable(): Segment | undefined {
    return this.#current?.inMemory === this.#files.refuses ? this.#current : undefined;
  }

  /** @param without a segment that the checkpoint shall say is given up; if it is the current one, a new one begins */
  #tryToWrite(events: readonly SizedEvent[], without: GivenUp | undefined): unknown {
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
      segment ??= this.#folder.create(this.#next);
      if (segment.file === undefined) throw new Error('The segment is closed.');
      segment.file.append(bytes);
    } catch (error) {
      if (segment !== undefined && !this.#takeBack(segment, rolls)) this.#burn(events.length);
      return error ?? new Error('unknown');
    }
    if (rolls) {
      this.#folder.add(segment);
      this.#current = segment;
    }
    segment.size += bytes.length;
    segment.unsynced = true;
    if (rolls || this.#checkpointOwed || without !== undefined) this.#ranNoted = this.#ran;
    this.#checkpointOwed = false;
    this.#losses.clear();
    if (segment.events === 0) segment.firstAt = this.#ran;
    if (events.length > 0) segment.lastAt = this.#ran;
    for (const { event, jsonBytes } of events) {
      this.#account.collect(event.name, event.occurrences);
      this.#account.aggregateAway(event.name, event.occurrences - event.elements);
      tally(segment, event, jsonBytes, 1);
    }
    this.#next += events.length;
    segment.to = this.#next;
    if (rolls) this.#bury();
    return undefined;
  }

  #compose(events: readonly SizedEvent[], { head, without }: { head: boolean; without: GivenUp | undefined }): void {
    const writer = this.#writer;
    writer.clear();
    if (head) writer.head();
    if (without !== undefined) writer.checkpoint(this.#checkpointWithout(without));
    else if (head || this.#checkpointOwed) writer.checkpoint(this.#checkpoint());
    else for (const loss of this.#losses.values()) writer.loss(loss);
    let position = this.#next;
    for (const { event, jsonBytes } of events) writer.event(position++, event, event.json, jsonBytes);
  }

  /**
   * Undoes a write that failed.
   *
   * When something of it stays, what follows must go into a file with a higher number: the state is that of the last
   * checkpoint, and the remains may hold one.
   * @returns whether nothing of it is left
   */
  #takeBack(segment: Segment, isNew: boolean): boolean {
    try {
      if (isNew) this.#files.remove(segment.path);
      else segment.file?.truncate(segment.size);
      return true;
    } catch {
      this.#current = undefined;
      return false;
    } finally {
      if (isNew) closeFile(segment);
    }
  }

  #burn(positions: number): void {
    this.#done.add(this.#next, this.#next + positions);
    this.#next += positions;
    this.#checkpointOwed = true;
  }

  /** Books all that waits in a segment as dropped. */
  #giveUp(segment: Segment, reason: DropReason): void {
    for (const [name, elements] of segment.elements) if (elements > 0) this.#account.drop(name, reason, elements);
    segment.elements.clear();
    segment.events = 0;
    segment.bytes = 0;
    segment.readFrom = segment.size;
    this.#done.add(segment.from, segment.to);
    this.#checkpointOwed ||= reason === 'corrupt';
    this.#bury();
  }

  /** Finds the segments that are all past, and moves the end of the past up to the first event that waits. */
  #bury(): void {
    const buried = this.#folder.bury();
    if (buried.some((segment) => segment === this.#current)) this.#current = undefined;
    this.#done.add(0, this.#folder.segments.find(({ events }) => events > 0)?.from ?? this.#next);
  }
}

/** No room is left, on the disk or for this user. */
export const isFull = (error: unknown): boolean => errnoOf(error) === 'ENOSPC' || errnoOf(error) === 'EDQUOT';
