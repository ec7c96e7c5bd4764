import type { Clock } from '../../base/clock.ts';
import { type Duration, milliseconds, seconds } from '../../base/duration.ts';
import { isOwnProcess } from '../../base/own-processes.ts';
import { Turn } from '../../base/turn.ts';
import { ProcFolder } from '../../host/proc-folder.ts';
import type { AuditEvent } from '../audit/event.ts';
import type { Asked, CommandLineSource } from './memory/command-lines.ts';

const MOST_PROCESSES = 16_384;
/** A longer command line isn't kept. In characters. */
const LONGEST_COMMAND_LINE = 4 * 1024;
/** All command lines together; with more, the oldest are forgotten. In characters, of which each is one byte or two. */
const MOST_COMMAND_LINES = 2 * 1024 * 1024;
/** The names of all their programs together, in characters; with more, the oldest processes are forgotten. */
const MOST_NAME_LENGTH = 2 * 1024 * 1024;
/** Names that are shared. */
const MOST_SHARED = 1_024;
/** The largest pid there is: PID_MAX_LIMIT of linux/threads.h. */
const LARGEST_PID = 4 * 1024 * 1024;
/** How many processes `load` asks for their arguments at a time. */
const ASKED_AT_ONCE = 64;
/** More bytes than LONGEST_COMMAND_LINE characters need. */
const MOST_ASKED_BYTES = 4 * LONGEST_COMMAND_LINE;

/** How many of the oldest are looked at, to find one that lives no longer, when there is room for no more. */
const MOST_LOOKS = 8;
/** How long a start can have been lost before that is known; see PATIENCE and CHECK_EVERY of audit-source.ts. */
export const LOSS_DELAY = seconds(6);
/** How much later than its process's end a start may seem to be; of one whose time isn't known, that is when it was learnt. */
const LATEST_START = seconds(4);
/** What times of the kernel's and ours, both rounded, can differ by; and then some. */
const ROUNDING = seconds(2);

/** What is known of a process. */
export interface KnownProcess {
  readonly executable?: string;
  /** Arguments joined by one blank; absent when they are unknown, or longer than 4,096 characters. */
  readonly commandLine?: string;
}

interface Entry {
  /** Absent when nobody could see it. */
  readonly executable: string | undefined;
  /** When it started, or this was learnt; whole seconds of the monotonic clock. */
  readonly since: number;
  /** Whether it has executed this program, rather than being a copy of a process that has. */
  readonly started: boolean;
}

/** A process that is no more, or isn't the one that the table knows by its pid. */
export interface Gone {
  readonly pid: number;
  readonly entry: unknown;
}

/**
 * The programs that run, by process: what the records of their starts said, for the records in which that isn't.
 *
 * Bounded, and lean. What is cut out of an audit record's text keeps all of that text in memory, so names are shared and
 * command lines are copied.
 */
export class ProcessTable {
  readonly #proc: ProcFolder;
  readonly #clock: Clock;
  readonly #commandLineSource: CommandLineSource | undefined;
  /** In the order of their last start, as are the command lines. */
  readonly #processes = new Map<number, Entry>();
  readonly #commandLines = new Map<number, string>();
  readonly #oldest = new Oldest(this.#processes);
  readonly #oldestCommandLine = new Oldest(this.#commandLines);
  #commandLineLength = 0;
  #nameLength = 0;
  readonly #names = new Map<string, string>();
  /** Starts from this time on may be unknown, up to the last complete look at /proc. */
  #doubtFrom = Number.NEGATIVE_INFINITY;
  #doubtTo = Number.POSITIVE_INFINITY;
  #lossToldAt = Number.NEGATIVE_INFINITY;
  #loading: Promise<void> | undefined;
  #evicted = 0;

  /** @param commandLines without it, the table knows only arguments that it is told */
  constructor({ proc, clock, commandLines }: { proc: ProcFolder; clock: Clock; commandLines?: CommandLineSource }) {
    this.#proc = proc;
    this.#clock = clock;
    this.#commandLineSource = commandLines;
  }

  get size(): number {
    return this.#processes.size;
  }

  /**
   * A process runs this program.
   *
   * @param start `since`: by the monotonic clock; now when absent
   */
  started({
    pid,
    executable,
    argv,
    since = this.#clock.monotonic(),
  }: {
    pid: number;
    executable?: string | undefined;
    argv?: readonly string[];
    since?: Duration;
  }): void {
    this.#started(pid, executable, argv?.join(' '), since);
  }

  #started(pid: number, executable: string | undefined, commandLine: string | undefined, now: Duration): void {
    if (!isPid(pid)) return;
    this.#forget(pid);
    this.#put(pid, executable, true, now);
    if (commandLine !== undefined) this.#keep(pid, commandLine);
  }

  #keep(pid: number, commandLine: string): void {
    if (commandLine.length > LONGEST_COMMAND_LINE) return;
    this.#commandLines.set(pid, commandLine);
    this.#commandLineLength += commandLine.length;
    if (this.#commandLineLength <= MOST_COMMAND_LINES) this.#oldestCommandLine.rest();
    while (this.#commandLineLength > MOST_COMMAND_LINES) {
      const [oldest, { length }] = this.#oldestCommandLine.next();
      this.#commandLines.delete(oldest);
      this.#commandLineLength -= length;
    }
  }

  /** A record of what a process did names its program: worth knowing when nothing else is known of it. */
  seen(pid: number, executable: string): void {
    const known = this.#processes.get(pid);
    if (known?.executable !== undefined || !isPid(pid)) return;
    if (known === undefined) {
      const now = this.#clock.monotonic();
      this.#put(pid, executable, this.isInDoubt(now), now);
    } else {
      this.#processes.set(pid, { ...known, executable: this.#shared(executable) });
      this.#nameLength += executable.length;
    }
  }

  /**
   * To be shown every batch of audit's events.
   *
   * @param timeOf when a record was made, by the monotonic clock; see WallTimes
   */
  acceptAudit(events: readonly AuditEvent[], timeOf: (time: Date) => Duration = () => this.#clock.monotonic()): void {
    for (const { record, time, syscall, success, fields, commandLine } of events) {
      if (record !== undefined) continue;
      const pid = Number(fields.pid);
      const executable = fields.exe === '' ? undefined : fields.exe;
      if (success && (syscall === 'execve' || syscall === 'execveat')) {
        this.#started(pid, executable, commandLine, timeOf(time));
      } else if (executable !== undefined) this.seen(pid, executable);
    }
  }

  /** Adds the arguments of a process that is known without them; ignored when it runs another program, or has ended. */
  learn(pid: number, executable: string | undefined, argv: readonly string[]): void {
    const known = this.#processes.get(pid);
    if (known === undefined || known.executable !== executable || this.#commandLines.has(pid)) return;
    this.#keep(pid, argv.join(' '));
  }

  get(pid: number): KnownProcess | undefined {
    const known = this.#processes.get(pid);
    if (known === undefined) return undefined;
    const commandLine = this.#commandLines.get(pid);
    return {
      ...(known.executable === undefined ? {} : { executable: known.executable }),
      ...(commandLine === undefined ? {} : { commandLine }),
    };
  }

  /**
   * Whether it has executed a program.
   *
   * @param by when it had ended; a program that was started long after that is another process's
   */
  hasStarted(pid: number, by: Duration): boolean {
    const known = this.#processes.get(pid);
    return known?.started === true && known.since * 1_000 <= by + LATEST_START;
  }

  /** It is no more. @returns its program, if that is known */
  ended(pid: number): string | undefined {
    const executable = this.#processes.get(pid)?.executable;
    this.#forget(pid);
    return executable;
  }

  /** A copy of a process has ended. What is known of another process, that got its pid since and has started, stays. */
  forgetCopy(pid: number): void {
    if (this.#processes.get(pid)?.started !== true) this.#forget(pid);
  }

  /**
   * Starts have been lost.
   *
   * @param since none that was made before that; a few seconds ago when nobody knows
   */
  startsLost(since: Duration = milliseconds(this.#clock.monotonic() - LOSS_DELAY)): void {
    const now = this.#clock.monotonic();
    // Of what was in doubt before, nobody asks any more after a while.
    if (this.#doubtTo < Math.min(since, now - 2 * LOSS_DELAY) - LOSS_DELAY) this.#doubtFrom = since;
    else this.#doubtFrom = Math.min(this.#doubtFrom, since);
    this.#doubtTo = Number.POSITIVE_INFINITY;
    this.#lossToldAt = now;
  }

  /** Whether a process that ran at that time may be unknown, since its start was lost, or before the table's time. */
  isInDoubt(at: Duration): boolean {
    return at >= this.#doubtFrom && at <= this.#doubtTo;
  }

  /** Whether a look at /proc could find processes whose start was lost. */
  get needsLoading(): boolean {
    return this.#doubtTo === Number.POSITIVE_INFINITY;
  }

  /**
   * How many processes that have executed something had to be forgotten since this was last asked, since there are too
   * many: nobody will know what ended when they do.
   */
  takeEvicted(): number {
    const evicted = this.#evicted;
    this.#evicted = 0;
    return evicted;
  }

  /**
   * Adds the processes that run and were not reported. Takes some 60 µs each, a few milliseconds at a time. Their
   * arguments follow later. Rejects with what the file system says when there is no /proc.
   */
  load(signal?: AbortSignal): Promise<void> {
    this.#loading ??= this.#load(signal).finally(() => {
      this.#loading = undefined;
    });
    return this.#loading;
  }

  /**
   * Which processes are no more, or have given their pid to others, and nobody told of it.
   *
   * @param isPending whether it is known to have ended
   */
  async findGone(isPending: (pid: number) => boolean, signal?: AbortSignal): Promise<Gone[]> {
    const gone: Gone[] = [];
    let uptime = this.#proc.uptime();
    const turn = new Turn(this.#clock);
    let left = this.#processes.size; // those that come meanwhile stand at the end, and are not yet of interest
    for (const [pid, entry] of this.#processes) {
      if (left-- === 0 || signal?.aborted === true) break;
      if (turn.isOver()) {
        await turn.next();
        uptime = this.#proc.uptime();
      }
      if (this.#processes.get(pid) !== entry || isPending(pid)) continue;
      if (!this.#isAlive(pid, entry, uptime)) gone.push({ pid, entry });
    }
    return gone;
  }

  /** Forgets one that `findGone` found. @returns whether an end of it went unnoticed */
  forgetGone({ pid, entry }: Gone): boolean {
    const known = this.#processes.get(pid);
    if (known === undefined || known !== entry) return false;
    this.#forget(pid);
    return known.started;
  }

  async #load(signal: AbortSignal | undefined): Promise<void> {
    const began = this.#clock.monotonic();
    const turn = new Turn(this.#clock);
    const added: Asked[] = [];
    for (const pid of this.#proc.pids()) {
      if (signal?.aborted === true) return;
      if (turn.isOver()) await turn.next();
      const known = this.#processes.get(pid);
      if (known !== undefined && (known.started || (known.since + 1) * 1_000 < this.#doubtFrom)) continue;
      const stat = this.#proc.stat(pid);
      if (stat === undefined || stat.isKernelThread || stat.isDead || isOwnProcess(pid, stat.parentPid)) continue;
      const details = this.#proc.details(pid);
      if (details === undefined) continue; // it ended meanwhile
      this.started({ pid, executable: details.executable });
      added.push({ pid, startTicks: stat.startTicks, mostBytes: MOST_ASKED_BYTES, ...details });
    }
    void this.#learnAll(added, signal);
    // What was lost meanwhile may have been passed by already.
    if (this.#lossToldAt <= began) this.#doubtTo = this.#clock.monotonic();
  }

  /** Never rejects. */
  async #learnAll(added: readonly Asked[], signal: AbortSignal | undefined): Promise<void> {
    if (this.#commandLineSource === undefined) return;
    for (let from = 0; from < added.length && signal?.aborted !== true; from += ASKED_AT_ONCE) {
      const asked = added.slice(from, from + ASKED_AT_ONCE);
      const commandLines = await this.#commandLineSource.read(asked, signal);
      for (const [index, { pid, executable }] of asked.entries()) {
        const commandLine = commandLines[index];
        if (commandLine !== undefined && 'argv' in commandLine) this.learn(pid, executable, commandLine.argv);
      }
    }
  }

  /**
   * Whether it is the process that the entry is about. A process that began after its entry was made is another one; both
   * are measured by their age, since the wall clock may have been set in between.
   */
  #isAlive(pid: number, { since }: Entry, uptime: number): boolean {
    if (this.#proc.inode(pid) === undefined) return false;
    const stat = this.#proc.stat(pid);
    if (stat === undefined) return false;
    const age = uptime - stat.startTicks * ProcFolder.TICK_MS;
    return age + ROUNDING >= this.#clock.monotonic() - since * 1_000;
  }

  #put(pid: number, executable: string | undefined, started: boolean, now: Duration): void {
    const length = executable?.length ?? 0;
    const isFull = () => this.#processes.size >= MOST_PROCESSES || this.#nameLength + length > MOST_NAME_LENGTH;
    if (!isFull()) this.#oldest.rest();
    while (this.#processes.size > 0 && isFull()) this.#makeRoom();
    this.#nameLength += length;
    const since = Math.floor(now / 1_000);
    this.#processes.set(pid, { executable: this.#shared(executable), since, started });
  }

  /** Gives up the oldest, and rather one that is no more: those that live long are the ones of interest. */
  #makeRoom(): void {
    for (let looks = 0; ; looks += 1) {
      const [pid, entry] = this.#oldest.next();
      if (looks < MOST_LOOKS && this.#proc.inode(pid) !== undefined) {
        this.#processes.delete(pid);
        this.#processes.set(pid, entry); // a second chance, at the end
        continue;
      }
      if (entry.started) this.#evicted += 1;
      this.#forget(pid);
      return;
    }
  }

  #forget(pid: number): void {
    this.#nameLength -= this.#processes.get(pid)?.executable?.length ?? 0;
    if (!this.#processes.delete(pid)) return;
    const commandLine = this.#commandLines.get(pid);
    if (commandLine === undefined) return;
    this.#commandLines.delete(pid);
    this.#commandLineLength -= commandLine.length;
  }

  #shared(name: string | undefined): string | undefined {
    if (name === undefined) return undefined;
    const known = this.#names.get(name);
    if (known !== undefined) return known;
    if (this.#names.size >= MOST_SHARED) this.#names.clear(); // those in use stay with their processes
    const own = copy(name);
    this.#names.set(own, own);
    return own;
  }
}

const isPid = (pid: number) => Number.isInteger(pid) && pid > 0 && pid <= LARGEST_PID;

/** The same text, but none that is a part of another one in V8's memory. */
const copy = (text: string): string => Buffer.from(text).toString();

/** With as many, what an iterator keeps is some four times the map. */
const MOST_STEPS = 4 * MOST_PROCESSES;

/**
 * Goes through a map from its oldest entry on, whatever is added and deleted meanwhile. A new iterator for each step would
 * have to pass over all that was deleted at the beginning. But an iterator that isn't moved on keeps every entry that its
 * map has had since: V8 makes a new table now and then, and chains the old ones for those who still stand in them.
 */
class Oldest<K, V> {
  readonly #map: ReadonlyMap<K, V>;
  #entries: Iterator<[K, V], undefined> | undefined;
  #steps = 0;

  constructor(map: ReadonlyMap<K, V>) {
    this.#map = map;
  }

  /** An entry that is there, and mostly one that hasn't been given out since it was added. The map mustn't be empty. */
  next(): [K, V] {
    for (;;) {
      if (this.#steps >= MOST_STEPS) this.rest();
      this.#entries ??= this.#map.entries();
      this.#steps += 1;
      const { value, done } = this.#entries.next();
      if (done !== true) return value;
      this.rest();
    }
  }

  /** To be called while there is room. */
  rest(): void {
    this.#entries = undefined;
    this.#steps = 0;
  }
}
