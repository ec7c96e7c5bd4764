import type { Clock } from '../../../core/base/clock.ts';
import { type Duration, milliseconds, minutes, seconds } from '../../../core/base/duration.ts';
import { AgentError, toAgentError } from '../../../core/base/errors.ts';
import type { Logger } from '../../../core/base/log.ts';
import { nextTurn, Turn } from '../../../core/base/waiting.ts';
import type { ProcessEnded, StreamSink } from '../../../core/contract/streams.ts';
import { hostProc } from '../../host/in-root.ts';
import { ProcFolder } from '../../host/proc-folder.ts';
import { DrainPause, SHORTEST_PAUSE } from '../native/netlink/drain-pause.ts';
import type { Writable } from '../native/writable.ts';
import type { HeldCount } from '../source-state/held-count.ts';
import { type FilterFor, ProcessConnector } from './connector/connector.ts';
import { type AfterLeaderExit, afterLeaderExit, readWaitStatus } from './connector/exit-status.ts';
import { EXIT, exitsOnly, MAX_WATCHED, type ProcessEvent } from './connector/messages.ts';
import { type Gone, LOSS_DELAY, LOSS_KNOWN_AFTER, type ProcessTable } from './process-table.ts';

/** The pauses shorten long before the receive buffer is full. */
const MANY_EXITS = 1_500;
const FEW_EXITS = 500;

/** How much later than an exit its start may be read: the kernel delivers audit's records by a thread of its own. */
const HOLD = milliseconds(300);
/** Exits held, for either reason, about 100 bytes each. */
const MAX_WAITING = 16_384;
/** Exits held in all: for a start, or until it is known to be lost. */
export const MAX_HELD_EXITS = 2 * MAX_WAITING;
/** Exits that were not reported, whose pids are remembered. */
const MAX_PASSED_OVER = 4_096;

/** Exits read before it is checked what remains of their processes. */
const EXITS_PER_LOOK = 1_024;
/** Up to this number, processes are looked up one by one; for more, listing /proc costs less. */
const MANY_LOOKUPS = 50;
const EXITS_PER_BATCH = 64;
/** Limits of one drain and of the final drains: a queue not empty by then fills faster than it can be read. */
const LONGEST_DRAIN = seconds(1);
const LONGEST_LAST_DRAIN = seconds(5);

const CHECK_EVERY = minutes(1);
/** How long an exit may be missing after its process is gone. */
const OUTSTANDING = seconds(1);
/** Minimum interval of reading /proc to find processes whose start was lost. */
const LOAD_AGAIN = seconds(30);
const LOOK_AT_WATCHED_EVERY = seconds(1);

interface Parts {
  /** The table of programs. Its source must be closed before this one. */
  readonly table: ProcessTable;
  readonly sink: StreamSink;
  readonly clock: Clock;
  readonly log: Logger;
  /** Where the host's root directory is. */
  readonly hostRoot: string;
  /**
   * Up to when all starts have been read, by the monotonic clock. An exit is held until the starts of its time have been read,
   * however long that takes. If omitted, starts are read as they arrive.
   */
  readonly startsRead?: () => Duration;
  /** Up to when it is also known whether starts were lost. Default: a few seconds after they have been read. */
  readonly startsSettled?: () => Duration;
  /** Receives the number of exits held: kill -9 loses them, and the next run counts them. */
  readonly held?: HeldCount;
  /** Called once when the source cannot continue. It must still be closed. */
  readonly onLost?: (reason: AgentError) => void;
  /** For tests. */
  readonly connect?: (filter: FilterFor) => ProcessConnector;
}

/** The exit of a first thread. */
interface Exit {
  readonly pid: number;
  /** Monotonic time; if other threads survived the first one, when they were found to have exited. */
  endedAt: Duration;
  /** Whether nothing remained of the process soon afterwards. */
  isGone: boolean;
  /** Whether the pid was reused since, so that the table's entry may be another process's. */
  isOvertaken: boolean;
  /** If other threads survive the first, these two become those of the last thread. */
  nanoseconds: number;
  code: number;
}

/**
 * Reports the end of every process, from the kernel's process connector, with its program from the process table. The
 * kernel sends only the exits of first threads.
 *
 * An exit is held until the starts of its time have been read, since starts arrive by another way, and later. An exit
 * without a start belongs to a copy of a process, made by fork(2), that executed no program; it is not reported, unless
 * starts were lost. All comparisons use the kernel's times: an agent that is slow or was stopped reads starts and exits much
 * later, in any order.
 *
 * A process whose first thread ends before the others has not ended. It is watched, and reported with the status of its last
 * thread, which is its own: that thread calls exit(3).
 *
 * Exits that the kernel could not deliver are counted. The kernel reports how many events it dropped, including those of
 * copies, which must not count. So the count is the number of processes in the table that are gone without an exit; the
 * kernel's number, if higher, is used only while starts are lost as well. The table is checked after each such loss, once a
 * minute, and at the end; a process that is gone counts whatever the reason. Counted as `unresolved`: an exit that was
 * received, but dropped before its start was read, because too many were held; and a process that could not be watched, once
 * it is gone.
 */
export class ExitSource {
  readonly #parts: Parts;
  readonly #proc: ProcFolder;
  #open: Opened | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#proc = new ProcFolder(hostProc(parts.hostRoot));
  }

  /** @throws AgentError SOCKET_UNAVAILABLE */
  async open(): Promise<void> {
    if (this.#open !== undefined) return;
    const { table, clock, connect = ProcessConnector.open } = this.#parts;
    // Exits from before listening are not losses.
    for (const gone of await this.#findGone(() => false)) table.forgetGone(gone);
    table.takeEvicted();
    const opened = new Opened(
      connect((answer) => exitsOnly([], answer)),
      clock.monotonic(),
    );
    this.#open = opened;
    opened.reading = this.#read(opened);
  }

  /** Reports the remaining exits and losses. Safe to call twice; never rejects. */
  async close(): Promise<void> {
    const opened = this.#open;
    if (opened === undefined) return;
    this.#open = undefined;
    opened.stopping.abort();
    await opened.reading;
    await opened.loading;
    if (opened.connector.overruns !== opened.overruns) opened.overrunAt = this.#parts.clock.monotonic();
    const canRead = await this.#succeeds(() => this.#drain(opened, LONGEST_LAST_DRAIN));
    const gone = await this.#findGone((pid) => opened.isPending(pid));
    await this.#parts.clock.sleep(SHORTEST_PAUSE); // lets the last threads of ending processes end
    if (canRead) await this.#succeeds(() => this.#drain(opened, LONGEST_LAST_DRAIN));
    await this.#succeeds(async () => {
      await this.#release(opened, true);
      this.#count(opened, gone);
      this.#noteHeld(opened);
    });
    opened.connector.close();
  }

  async #succeeds(work: () => Promise<unknown>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (err) {
      this.#parts.log.warn({ err }, 'Could not read the last exits.');
      return false;
    }
  }

  async #read(opened: Opened): Promise<void> {
    const { clock, onLost } = this.#parts;
    const { signal } = opened.stopping;
    const drainPause = new DrainPause(clock, { many: MANY_EXITS, few: FEW_EXITS });
    const sockets = [opened.connector];
    try {
      while (!signal.aborted) {
        const { read, isEmpty } = await this.#drain(opened);
        await nextTurn(); // the starts are read at the same beat, maybe only now
        await this.#release(opened, false);
        this.#noteHeld(opened);
        if (isEmpty) await this.#check(opened); // an end that was not read yet would count as lost
        this.#load(opened);
        await drainPause.sleep({ read, sockets, isWaiting: opened.held.size > 0 }, signal);
      }
    } catch (error) {
      if (!signal.aborted) onLost?.(toAgentError(error));
    }
  }

  /**
   * Reads to the end of the queue, and checks what remains of the processes. Ends early where events come faster than they are
   * read, so that the rest of the loop continues.
   *
   * @returns the number of datagrams, and whether the queue was empty
   */
  async #drain(opened: Opened, limit = LONGEST_DRAIN): Promise<{ readonly read: number; readonly isEmpty: boolean }> {
    const { clock } = this.#parts;
    const turn = new Turn(clock);
    const until = clock.monotonic() + limit;
    for (let total = 0; ; ) {
      const exits: Exit[] = [];
      const now = clock.monotonic();
      const bootedAt = now - (clock.now().getTime() - clock.fromKernel(0).getTime());
      const read = opened.read(EXITS_PER_LOOK, exits, now, bootedAt);
      this.#look(opened, exits);
      total += read;
      if (read < EXITS_PER_LOOK) return { read: total, isEmpty: true };
      if (clock.monotonic() > until) return { read: total, isEmpty: false };
      if (turn.isOver()) await turn.next();
    }
  }

  /** Promptly, so that a process that survives its first thread is watched from then on. */
  #look(opened: Opened, exits: readonly Exit[]): void {
    for (const exit of opened.sortOut(exits, this.#livingAmong(exits))) {
      if (this.#afterLeaderExit(exit) === 'threads') this.#watch(opened, exit);
    }
  }

  /** The pids that still exist, or were reused. May contain others. */
  #livingAmong(exits: readonly Exit[]): ReadonlySet<number> {
    try {
      if (exits.length >= MANY_LOOKUPS) return new Set(this.#proc.pids());
    } catch {
      // /proc cannot be listed.
    }
    return new Set(exits.map(({ pid }) => pid).filter((pid) => this.#proc.inode(pid) !== undefined));
  }

  /** Reports what has waited long enough. @param all everything, since nothing more will come */
  async #release(opened: Opened, all: boolean): Promise<void> {
    const { table, sink, clock, startsRead, startsSettled } = this.#parts;
    const now = clock.monotonic();
    if (opened.watched.size > 0 && (all || now >= opened.lookAt)) this.#lookAtWatched(opened, now);
    const read = startsRead?.() ?? now;
    const settled = startsSettled?.() ?? read - LOSS_KNOWN_AFTER;
    await this.#deliver(opened, [
      ...opened.takeReady(all ? Number.POSITIVE_INFINITY : read - HOLD, table),
      ...opened.overtaken.splice(0).filter(({ endedAt }) => table.isInDoubt(endedAt)),
      ...opened.takeDoubtful(all ? Number.POSITIVE_INFINITY : settled, table),
    ]);
    const evicted = table.takeEvicted();
    if (evicted > 0) sink.drop('exits', 'unresolved', evicted);
  }

  /** Reports those that are ends of processes. */
  async #deliver(opened: Opened, exits: readonly Exit[]): Promise<void> {
    const { sink, clock } = this.#parts;
    const turn = new Turn(clock);
    for (let from = 0; from < exits.length; from += EXITS_PER_BATCH) {
      const ended = exits
        .slice(from, from + EXITS_PER_BATCH)
        .filter((exit) => exit.isGone || this.#hasEnded(opened, exit))
        .map((exit) => this.#recordOf(exit));
      if (ended.length > 0) sink.accept('exits', ended);
      if (turn.isOver()) await turn.next();
    }
  }

  /** Checks whether the process has exited. If not, it is watched from now on. */
  #hasEnded(opened: Opened, exit: Exit): boolean {
    const left = this.#afterLeaderExit(exit);
    if (left === 'threads') this.#watch(opened, exit);
    return left === 'nothing';
  }

  /** The exits that would be reported if nothing more came; the end of a copy would not. */
  #noteHeld({ held, doubtful }: Opened): void {
    const { held: noted, table } = this.#parts;
    if (noted === undefined) return;
    let count = 0;
    for (const { pid, endedAt } of held.values()) if (table.hasStarted(pid, endedAt)) count += 1;
    for (const { endedAt } of doubtful.values()) if (table.isInDoubt(endedAt)) count += 1;
    noted.set(count);
  }

  #afterLeaderExit({ pid, endedAt }: Exit): AfterLeaderExit {
    const since = milliseconds(this.#parts.clock.monotonic() - endedAt);
    return afterLeaderExit(pid, since, this.#proc);
  }

  #watch(opened: Opened, exit: Exit): void {
    const { table, sink } = this.#parts;
    opened.held.delete(exit.pid);
    if (opened.watched.size < MAX_WATCHED) {
      opened.watch(exit);
      return;
    }
    // Its process is running, and counts once when it is gone: the table then still has it, unless its start was lost.
    opened.passOver(exit.pid);
    if (!table.hasStarted(exit.pid, exit.endedAt) && table.isInDoubt(exit.endedAt)) sink.drop('exits', 'unresolved', 1);
  }

  #lookAtWatched(opened: Opened, now: Duration): void {
    opened.lookAt = milliseconds(now + LOOK_AT_WATCHED_EVERY);
    const before = opened.watched.size;
    for (const exit of opened.watched.values()) {
      const left = this.#afterLeaderExit(exit);
      if (left === 'threads') continue;
      opened.watched.delete(exit.pid);
      if (left === 'nothing') opened.hold(Object.assign(exit, { endedAt: now, isGone: true }));
    }
    if (opened.watched.size < before) opened.setFilter();
  }

  #recordOf({ pid, nanoseconds, code, isOvertaken }: Exit): ProcessEnded {
    const { table, clock } = this.#parts;
    const executable = isOvertaken ? undefined : table.ended(pid);
    const { exitStatus, signal } = readWaitStatus(code);
    const ended: Writable<ProcessEnded> = { time: clock.fromKernel(nanoseconds), pid, exitStatus };
    if (executable !== undefined) ended.executable = executable;
    if (signal !== undefined) ended.signal = signal;
    return ended;
  }

  /** Looks for processes that are gone, and some time later counts those without an exit. */
  async #check(opened: Opened): Promise<void> {
    const { clock, log } = this.#parts;
    const now = clock.monotonic();
    const { connector, suspects } = opened;
    if (connector.overruns !== opened.overruns) {
      opened.overruns = connector.overruns;
      opened.overrunAt = now;
      opened.checkAt = milliseconds(Math.min(opened.checkAt, now + LOSS_DELAY));
    }
    if (suspects !== undefined) {
      if (now - suspects.foundAt < OUTSTANDING) return;
      opened.suspects = undefined;
      const lost = this.#count(opened, suspects.gone);
      const receivedAny = opened.receivedAny > 0 || connector.overruns !== opened.overrunsAtCheck;
      opened.receivedAny = 0;
      opened.overrunsAtCheck = connector.overruns;
      if (lost > 0) log.debug({ lost }, 'Exits of processes are missing.');
      if (lost > 0 && !receivedAny) throw noEventsError();
    } else if (now >= opened.checkAt) {
      opened.checkAt = milliseconds(now + CHECK_EVERY);
      const gone = await this.#findGone((pid) => opened.isPending(pid));
      opened.suspects = { gone, foundAt: clock.monotonic() };
    }
  }

  /** @returns the number of exits lost since the last call */
  #count(opened: Opened, suspects: readonly Gone[]): number {
    const { table, sink } = this.#parts;
    const { connector, overrunAt } = opened;
    const all = suspects.filter((suspect) => !opened.isPending(suspect.pid) && table.forgetGone(suspect));
    const gone = all.filter(({ pid }) => !opened.passedOver.has(pid)).length;
    if (gone < all.length) sink.drop('exits', 'unresolved', all.length - gone);
    const dropped = connector.takeDropped();
    const lost = overrunAt !== undefined && table.isInDoubt(overrunAt) ? Math.max(gone, dropped) : gone;
    opened.overrunAt = undefined;
    if (lost > 0) sink.drop('exits', 'kernel', lost);
    return lost;
  }

  async #findGone(isPending: (pid: number) => boolean): Promise<Gone[]> {
    try {
      return await this.#parts.table.findGone(isPending);
    } catch (err) {
      this.#parts.log.debug({ err }, 'Could not check for exited processes.');
      return [];
    }
  }

  #load(opened: Opened): void {
    const { table, clock, log, startsRead } = this.#parts;
    const now = clock.monotonic();
    // Later starts are reported. Earlier ones are still running, or do not matter.
    const startsReported = startsRead === undefined || startsRead() > opened.openedAt;
    if (!table.needsLoading || !startsReported || now < opened.loadAt) return;
    opened.loadAt = milliseconds(now + LOAD_AGAIN);
    opened.loading = table
      .load(opened.stopping.signal)
      .catch((err: unknown) => log.debug({ err }, 'Could not list the running processes.'));
  }
}

/**
 * The state of one period between open and close.
 *
 * Work for every exit is in small methods without the rare cases: V8 compiles these in one or two milliseconds. In one loop
 * it took 40 ms, and again for each rare case when it first occurred.
 */
class Opened {
  readonly connector: ProcessConnector;
  readonly stopping = new AbortController();
  reading: Promise<void> = Promise.resolve();
  loading: Promise<void> = Promise.resolve();
  loadAt: Duration;
  /** By pid, in order of arrival: exits that wait for the starts of their time, and exits that had none. */
  readonly held = new Map<number, Exit>();
  readonly doubtful = new Map<number, Exit>();
  readonly overtaken: Exit[] = [];
  /** Pids of the latest exits that were taken for those of copies, or could not be watched. */
  readonly passedOver = new Set<number>();
  /** Processes whose first thread has exited while others are running. */
  readonly watched = new Map<number, Exit>();
  lookAt: Duration;
  checkAt: Duration;
  suspects: { readonly gone: readonly Gone[]; readonly foundAt: Duration } | undefined;
  overruns: number;
  /** When the kernel last reported dropped events, since the last check. */
  overrunAt: Duration | undefined;
  /** At the last check: the number of the kernel's reports, and what has been read since. */
  overrunsAtCheck: number;
  receivedAny = 0;
  readonly openedAt: Duration;
  /** Exits that arrived later happened after this time. */
  #readUntil: Duration;

  constructor(connector: ProcessConnector, now: Duration) {
    this.connector = connector;
    this.openedAt = now;
    this.#readUntil = now;
    this.loadAt = now;
    this.lookAt = now;
    this.checkAt = milliseconds(now + CHECK_EVERY);
    this.overruns = connector.overruns;
    this.overrunsAtCheck = connector.overruns;
  }

  isPending(pid: number): boolean {
    return this.held.has(pid) || this.doubtful.has(pid) || this.watched.has(pid);
  }

  /**
   * Reads up to this many datagrams.
   *
   * @param exits receives the exits of first threads
   * @param bootedAt when the kernel's clock began, by the monotonic clock
   * @returns how many were read: fewer only when the queue is empty
   */
  read(max: number, exits: Exit[], now: Duration, bootedAt: number): number {
    const take = (event: ProcessEvent) => {
      const ended = Math.max(this.#readUntil, Math.min(now, bootedAt + event.nanoseconds / 1e6));
      const exit = this.#take(event, milliseconds(ended));
      if (exit !== undefined) exits.push(exit);
    };
    let read = 0;
    while (read < max && this.connector.read(take)) read += 1;
    this.receivedAny += read;
    if (read < max) this.#readUntil = now;
    return read;
  }

  /**
   * Marks the processes that are gone.
   *
   * @param there the existing pids, at least those among these exits
   * @returns the exits of processes that still exist
   */
  sortOut(exits: readonly Exit[], there: ReadonlySet<number>): Exit[] {
    const known = exits.filter((exit) => this.held.get(exit.pid) === exit); // of the others there was another one after it
    for (const exit of known) exit.isGone = !there.has(exit.pid);
    return known.filter(({ isGone }) => !isGone);
  }

  /**
   * Removes exits from before a time that have a start. Those without one are kept as doubtful.
   *
   * @param until starts up to then have been read
   */
  takeReady(until: number, table: ProcessTable): Exit[] {
    const hasStarted = ({ pid, endedAt }: Exit) => table.hasStarted(pid, endedAt);
    const due = this.#takeHeld(until);
    const ready = due.filter(hasStarted);
    if (ready.length < due.length) for (const exit of due) if (!hasStarted(exit)) this.#doubt(exit);
    return ready;
  }

  #takeHeld(until: number): Exit[] {
    const taken: Exit[] = [];
    for (const exit of this.held.values()) {
      if (exit.endedAt > until && this.held.size <= MAX_WAITING) break;
      this.held.delete(exit.pid);
      taken.push(exit);
    }
    return taken;
  }

  /**
   * Removes doubtful exits whose start was read after all, or may have been lost.
   *
   * @param until starts up to then have been read, or are known to be lost
   */
  takeDoubtful(until: number, table: ProcessTable): Exit[] {
    const due: Exit[] = [];
    for (const exit of this.doubtful.values()) {
      if (exit.endedAt > until && this.doubtful.size <= MAX_WAITING) break;
      this.doubtful.delete(exit.pid);
      if (table.hasStarted(exit.pid, exit.endedAt) || table.isInDoubt(exit.endedAt)) due.push(exit);
      else {
        table.forgetCopy(exit.pid);
        this.passOver(exit.pid);
      }
    }
    return due;
  }

  /** The exit was received, but will not be reported. If its process turns out to have a program, it counts. */
  passOver(pid: number): void {
    this.passedOver.add(pid);
    for (const oldest of this.passedOver) {
      if (this.passedOver.size <= MAX_PASSED_OVER) return;
      this.passedOver.delete(oldest);
    }
  }

  /** @returns the exit of a first thread; where the kernel does not filter, other events arrive as well */
  #take(event: ProcessEvent, endedAt: Duration): Exit | undefined {
    if (event.what !== EXIT) return undefined;
    const { pid, threadId, nanoseconds, code } = event;
    const watched = this.watched.get(pid);
    if (threadId !== pid) {
      if (watched !== undefined) Object.assign(watched, { nanoseconds, code });
      return undefined;
    }
    if (watched !== undefined) this.watched.delete(pid);
    const exit = { pid, endedAt, nanoseconds, code, isGone: false, isOvertaken: false };
    this.hold(exit);
    return exit;
  }

  /** Replaces a held exit of the same pid: that was the leader's, replaced by another thread that ran a program. */
  hold(exit: Exit): void {
    this.held.delete(exit.pid);
    this.held.set(exit.pid, exit);
    this.passedOver.delete(exit.pid);
  }

  /** An earlier doubtful exit was another process's: the two are too far apart to be of the same process. */
  #doubt(exit: Exit): void {
    const before = this.doubtful.get(exit.pid);
    if (before !== undefined) {
      this.doubtful.delete(exit.pid);
      this.overtaken.push(Object.assign(before, { isOvertaken: true, isGone: true }));
    }
    this.doubtful.set(exit.pid, exit);
  }

  watch(exit: Exit): void {
    this.watched.set(exit.pid, exit);
    this.setFilter();
  }

  setFilter(): void {
    this.connector.filter(exitsOnly([...this.watched.keys()]));
  }
}

const noEventsError = () =>
  new AgentError(
    'SOCKET_UNAVAILABLE',
    "The kernel's process connector has stopped reporting events.",
    'Look for a program that sends PROC_CN_MCAST_IGNORE without PROC_CN_MCAST_LISTEN, or update the kernel to 6.6 or later.',
  );
