import type { Clock } from '../../../core/base/clock.ts';
import { type Duration, LONG_AGO, milliseconds, NEVER, seconds } from '../../../core/base/duration.ts';
import { copied } from '../../../core/base/values.ts';
import { Turn } from '../../../core/base/waiting.ts';
import type { ProcessThen, StartMoment } from '../../../core/contract/ancestry.ts';
import { isOwnProcess } from '../../host/own-processes.ts';
import { ProcFolder } from '../../host/proc-folder.ts';
import type { AuditEvent } from '../audit/event.ts';
import { LONGEST_QUIET_PAUSE } from '../native/netlink/drain-pause.ts';
import type { Asked, CommandLineSource } from './memory/command-lines.ts';
import { type Began, hadBegun, ProcessHistory } from './process-history.ts';

const MAX_PROCESSES = 16_384;
/** Length of a command line, in characters; longer ones are not kept. */
const LONGEST_COMMAND_LINE = 4 * 1024;
/** Total length of command lines, in characters of one or two bytes. Beyond that, the oldest are removed. */
const MAX_COMMAND_LINES = 2 * 1024 * 1024;
/** Total length of program names, in characters. Beyond that, the oldest processes are removed. */
const MAX_NAME_LENGTH = 2 * 1024 * 1024;
/** Shared names kept. */
const MAX_SHARED = 1_024;
/** The largest possible pid: PID_MAX_LIMIT of linux/threads.h. */
const LARGEST_PID = 4 * 1024 * 1024;
/** Processes whose arguments `load` requests at a time. */
const ASKED_AT_ONCE = 64;
/** More bytes than LONGEST_COMMAND_LINE characters need. */
const MAX_ASKED_BYTES = 4 * LONGEST_COMMAND_LINE;
/** How many generations of copies, such as subshells, are followed to the process that started their program. */
const MAX_GENERATIONS = 8;
/** Arguments of a root process whose bounds are kept. */
const MAX_BOUNDS = 4;

/** How many of the oldest entries are checked for an ended process when the table is full. */
const MAX_LOOKS = 8;
/** How long a start may be lost before that is known; see ARRIVAL_LIMIT of loss.ts and CHECK_EVERY of audit-source.ts. */
export const LOSS_DELAY = seconds(6);
/** The same where the source does not report it: the read that finds the loss may come that much later. */
export const LOSS_KNOWN_AFTER = milliseconds(LOSS_DELAY + LONGEST_QUIET_PAUSE);
/** How much later than its end a process may seem to start, if only the time when it was learnt is known. */
const LATEST_START = seconds(4);
/** Tolerance between the kernel's times and the agent's, which are both rounded. */
const ROUNDING = seconds(2);

/** Known facts about a process. */
export interface KnownProcess {
  readonly executable?: string;
  /** Arguments joined by one space; absent when unknown or longer than 4,096 characters. */
  readonly commandLine?: string;
}

interface Entry extends Began {
  /** Absent when it was not visible. */
  readonly executable: string | undefined;
  /** When it started, or the entry was made; whole seconds of the monotonic clock. */
  readonly since: number;
  /** Whether it executed this program itself, and is not a copy of a process that did. */
  readonly started: boolean;
  /** 0 when unknown. */
  readonly parentPid: number;
  /** If the real and the effective user are the same; -1 when unknown. */
  readonly userId: number;
  /** Lengths of its first arguments, which are joined in the command line; only for root. */
  readonly lengths: readonly number[] | undefined;
}

/** Facts about the start of a program, besides its path. */
type Details = Pick<Entry, 'at' | 'serial' | 'parentPid' | 'userId' | 'lengths'>;

const UNKNOWN: Details = { at: -Infinity, serial: undefined, parentPid: 0, userId: -1, lengths: undefined };

/** A process that has exited, or whose pid was reused. */
export interface Gone {
  readonly pid: number;
  readonly entry: unknown;
}

/**
 * The programs of running processes, from the records of their starts, for records that lack the program.
 *
 * Bounded in memory. A substring of an audit record keeps the whole record in memory, so names are shared and command lines
 * are copied.
 */
export class ProcessTable {
  readonly #proc: ProcFolder;
  readonly #clock: Clock;
  readonly #commandLineSource: CommandLineSource | undefined;
  /** In the order of their last start, like the command lines. */
  readonly #processes = new Map<number, Entry>();
  readonly #commandLines = new Map<number, string>();
  readonly #history = new ProcessHistory<Entry>();
  /** The answer to the last question: one process often starts many others. */
  #last: { readonly entry: Entry; readonly process: ProcessThen } | undefined;
  readonly #oldest = new Oldest(this.#processes);
  readonly #oldestCommandLine = new Oldest(this.#commandLines);
  #commandLineLength = 0;
  #nameLength = 0;
  readonly #names = new Map<string, string>();
  /** Starts from this time on may be missing, up to the last complete scan of /proc. */
  #doubtFrom: number = LONG_AGO;
  #doubtTo = NEVER;
  #lossToldAt = LONG_AGO;
  #loading: Promise<void> | undefined;
  #evicted = 0;

  /** @param commandLines reads arguments; without it, only reported arguments are known */
  constructor({ proc, clock, commandLines }: { proc: ProcFolder; clock: Clock; commandLines?: CommandLineSource }) {
    this.#proc = proc;
    this.#clock = clock;
    this.#commandLineSource = commandLines;
  }

  get size(): number {
    return this.#processes.size;
  }

  /**
   * Records that a process runs this program.
   *
   * @param start `since`: by the monotonic clock; now when absent. `at`: by the wall clock, in milliseconds; absent when the
   *   process was found running
   */
  started({
    pid,
    executable,
    argv,
    since = this.#clock.monotonic(),
    at = -Infinity,
    parentPid = 0,
    userId = -1,
  }: {
    pid: number;
    executable?: string | undefined;
    argv?: readonly string[];
    since?: Duration;
    at?: number;
    parentPid?: number | undefined;
    userId?: number | undefined;
  }): void {
    const details = { at, serial: undefined, parentPid, userId, lengths: lengthsOf(argv, userId) };
    this.#started(pid, executable, argv?.join(' '), since, details);
  }

  #started(
    pid: number,
    executable: string | undefined,
    commandLine: string | undefined,
    now: Duration,
    details: Details,
  ): void {
    if (!isPid(pid)) return;
    this.#archive(pid, details.at === -Infinity ? this.#clock.now().getTime() : details.at);
    this.#forget(pid);
    this.#put(pid, executable, true, now, details);
    if (commandLine !== undefined) this.#keep(pid, commandLine);
  }

  /** Keeps what a process was until now. */
  #archive(pid: number, until: number): void {
    const entry = this.#processes.get(pid);
    if (entry === undefined) return;
    this.#history.add(pid, { entry, commandLine: this.#commandLines.get(pid), until });
  }

  #keep(pid: number, commandLine: string): void {
    if (commandLine.length > LONGEST_COMMAND_LINE) return;
    this.#commandLines.set(pid, commandLine);
    this.#commandLineLength += commandLine.length;
    if (this.#commandLineLength <= MAX_COMMAND_LINES) this.#oldestCommandLine.rest();
    while (this.#commandLineLength > MAX_COMMAND_LINES) {
      const [oldest, { length }] = this.#oldestCommandLine.next();
      this.#commandLines.delete(oldest);
      this.#commandLineLength -= length;
    }
  }

  /** A record of another action names the program: used when nothing else is known about the process. */
  seen(pid: number, executable: string): void {
    const known = this.#processes.get(pid);
    if (known?.executable !== undefined || !isPid(pid)) return;
    if (known === undefined) {
      const now = this.#clock.monotonic();
      this.#put(pid, executable, this.isInDoubt(now), now, UNKNOWN);
    } else {
      this.#processes.set(pid, { ...known, executable: this.#shared(executable) });
      this.#nameLength += executable.length;
    }
  }

  /**
   * Call it with every batch of audit events.
   *
   * @param timeOf when a record was made, by the monotonic clock; see WallTimes
   */
  acceptAudit(events: readonly AuditEvent[], timeOf: (time: Date) => Duration = () => this.#clock.monotonic()): void {
    for (const { record, time, serial, syscall, success, fields, argv, commandLine } of events) {
      if (record !== undefined) continue;
      const pid = Number(fields.pid);
      const executable = fields.exe === '' ? undefined : fields.exe;
      if (success && (syscall === 'execve' || syscall === 'execveat')) {
        const userId = fields.uid === fields.euid && fields.uid !== undefined ? Number(fields.uid) : -1;
        const parentPid = Number(fields.ppid ?? 0);
        const details = { at: time.getTime(), serial, parentPid, userId, lengths: lengthsOf(argv, userId) };
        this.#started(pid, executable, commandLine, timeOf(time), details);
      } else if (executable !== undefined) this.seen(pid, executable);
    }
  }

  /** Adds the arguments of a process without any; ignored when it runs another program or has ended. */
  learn(pid: number, executable: string | undefined, argv: readonly string[]): void {
    const known = this.#processes.get(pid);
    if (known === undefined || known.executable !== executable || this.#commandLines.has(pid)) return;
    if (known.userId === 0) this.#processes.set(pid, { ...known, lengths: lengthsOf(argv, 0) });
    this.#keep(pid, argv.join(' '));
  }

  get(pid: number): KnownProcess | undefined {
    const known = this.#processes.get(pid);
    if (known === undefined) return undefined;
    const commandLine = this.#commandLines.get(pid);
    const { executable } = known;
    // This is by far the most frequent case, and an object literal costs a tenth of two spreads.
    if (executable !== undefined && commandLine !== undefined) return { executable, commandLine };
    return {
      ...(executable === undefined ? {} : { executable }),
      ...(commandLine === undefined ? {} : { commandLine }),
    };
  }

  /**
   * What a process was at a moment: it may have executed another program since. A process that executed its first one later
   * was a copy of its parent. If nothing is known, it is looked up in /proc.
   */
  processAt(pid: number, moment: StartMoment): ProcessThen | undefined {
    for (let [from, left] = [pid, MAX_GENERATIONS]; left > 0; left -= 1) {
      const entry = this.#processes.get(from);
      if (entry !== undefined && hadBegun(entry, moment)) return this.#then(pid, entry, this.#commandLines.get(from));
      const past = this.#history.find(from, moment);
      if (past !== undefined) return this.#then(pid, past.entry, past.commandLine);
      const later = this.#history.firstAfter(from, moment) ?? entry;
      if (later === undefined) {
        if (this.find(from)?.executable === undefined) return undefined;
        const found = this.#processes.get(from);
        return found === undefined ? undefined : this.#then(pid, found, this.#commandLines.get(from));
      }
      if (later.parentPid <= 1) return undefined; // its parent exited before it executed a program
      from = later.parentPid;
    }
    return undefined;
  }

  #then(pid: number, entry: Entry, commandLine: string | undefined): ProcessThen | undefined {
    const { executable, at, serial, parentPid, userId, lengths } = entry;
    if (executable === undefined) return undefined;
    const last = this.#last;
    if (last?.entry === entry && last.process.pid === pid && last.process.commandLine === commandLine)
      return last.process;
    const process: ProcessThen = {
      pid,
      executable,
      commandLine,
      argv: lengths === undefined || commandLine === undefined ? undefined : argumentsIn(commandLine, lengths),
      userId: userId === -1 ? undefined : userId,
      parentPid,
      since: at === -Infinity ? undefined : { time: at, serial },
    };
    this.#last = { entry, process };
    return process;
  }

  /**
   * Like `get`, but also finds a running process that isn't known. A copy of a known process, such as a subshell, has its
   * arguments; of others only the program is found. What was found is kept, so that it is read from /proc only once.
   */
  find(pid: number): KnownProcess | undefined {
    const known = this.get(pid);
    if (known?.executable !== undefined || !isPid(pid)) return known;
    let original: KnownProcess | undefined;
    const parentPid = this.#proc.stat(pid)?.parentPid ?? 0;
    let ancestor: number | undefined = parentPid;
    let originalPid = 0;
    for (let left = MAX_GENERATIONS; left > 0 && ancestor !== undefined && ancestor > 1; left -= 1) {
      original = this.get(ancestor);
      originalPid = ancestor;
      if (original?.executable !== undefined) break;
      ancestor = this.#proc.stat(ancestor)?.parentPid;
    }
    const { executable, userId = -1 } = this.#proc.details(pid) ?? {};
    if (executable === undefined) return known;
    // A process that runs another program is not a copy: its start was not seen, and its arguments are unknown.
    if (original?.executable !== executable) {
      this.seen(pid, executable);
      const seen = this.#processes.get(pid);
      if (seen !== undefined) this.#processes.set(pid, { ...seen, parentPid, userId });
      return this.get(pid);
    }
    const lengths = this.#processes.get(originalPid)?.lengths;
    this.#forget(pid);
    this.#put(pid, executable, false, this.#clock.monotonic(), { ...UNKNOWN, parentPid, userId, lengths });
    if (original.commandLine !== undefined) this.#keep(pid, original.commandLine);
    return original;
  }

  /**
   * Whether the process has executed a program.
   *
   * @param by when it had ended; a program started long after that is another process's
   */
  hasStarted(pid: number, by: Duration): boolean {
    const known = this.#processes.get(pid);
    return known?.started === true && known.since * 1_000 <= by + LATEST_START;
  }

  /** Removes a process that ended. @returns its program, if known */
  ended(pid: number): string | undefined {
    const executable = this.#processes.get(pid)?.executable;
    this.#archive(pid, this.#clock.now().getTime());
    this.#forget(pid);
    return executable;
  }

  /** A copy of a process has exited. The entry of another process that got its pid and has started stays. */
  forgetCopy(pid: number): void {
    if (this.#processes.get(pid)?.started !== true) this.#forget(pid);
  }

  /**
   * Starts have been lost.
   *
   * @param since none from before that; a few seconds ago when unknown
   */
  startsLost(since: Duration = milliseconds(this.#clock.monotonic() - LOSS_DELAY)): void {
    const now = this.#clock.monotonic();
    // Times in doubt before that are no longer asked about.
    if (this.#doubtTo < Math.min(since, now - 2 * LOSS_DELAY) - LOSS_DELAY) this.#doubtFrom = since;
    else this.#doubtFrom = Math.min(this.#doubtFrom, since);
    this.#doubtTo = NEVER;
    this.#lossToldAt = now;
  }

  /** Whether a process that ran at that time may be missing: its start was lost, or it is older than the table. */
  isInDoubt(at: Duration): boolean {
    return at >= this.#doubtFrom && at <= this.#doubtTo;
  }

  /** Whether a scan of /proc could find processes whose start was lost. */
  get needsLoading(): boolean {
    return this.#doubtTo === NEVER;
  }

  /**
   * Number of processes with a program that were removed, because there are too many, since the last call: their ends will
   * have no program.
   */
  takeEvicted(): number {
    const evicted = this.#evicted;
    this.#evicted = 0;
    return evicted;
  }

  /**
   * Adds running processes that were not reported, at about 60 µs each, a few milliseconds at a time. Their arguments follow
   * later. Rejects with the error of the file system when /proc is missing.
   */
  load(signal?: AbortSignal): Promise<void> {
    this.#loading ??= this.#load(signal).finally(() => {
      this.#loading = undefined;
    });
    return this.#loading;
  }

  /**
   * Finds processes that have exited, or whose pid was reused, without a report of their end.
   *
   * @param isPending whether its end is already known
   */
  async findGone(isPending: (pid: number) => boolean, signal?: AbortSignal): Promise<Gone[]> {
    const gone: Gone[] = [];
    let uptime = this.#proc.uptime();
    const turn = new Turn(this.#clock);
    let left = this.#processes.size; // entries added during the search are at the end, and skipped
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

  /** Removes a process that `findGone` found. @returns whether its end was missed */
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
      if (known?.started === true && !isOnlySeen(known)) continue;
      if (known?.started === false && (known.since + 1) * 1_000 < this.#doubtFrom) continue;
      const stat = this.#proc.stat(pid);
      if (stat === undefined || stat.isKernelThread || stat.isDead || isOwnProcess(pid, stat.parentPid)) continue;
      const details = this.#proc.details(pid);
      if (details === undefined) continue; // it has exited
      const { executable = known?.executable, userId } = details;
      this.started({ pid, executable, parentPid: stat.parentPid, userId });
      added.push({ pid, startTicks: stat.startTicks, maxBytes: MAX_ASKED_BYTES, ...details });
    }
    void this.#learnAll(added, signal);
    // Starts lost during the scan may concern pids that it had already passed.
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
   * Whether the process is the one of the entry. A process that started after the entry was made is another one; both are
   * compared by age, since the wall clock may have been set in between.
   */
  #isAlive(pid: number, { since }: Entry, uptime: number): boolean {
    if (this.#proc.inode(pid) === undefined) return false;
    const stat = this.#proc.stat(pid);
    if (stat === undefined) return false;
    const age = uptime - stat.startTicks * ProcFolder.TICK_MS;
    return age + ROUNDING >= this.#clock.monotonic() - since * 1_000;
  }

  #put(pid: number, executable: string | undefined, started: boolean, now: Duration, details: Details): void {
    const length = executable?.length ?? 0;
    const isFull = () => this.#processes.size >= MAX_PROCESSES || this.#nameLength + length > MAX_NAME_LENGTH;
    if (!isFull()) this.#oldest.rest();
    while (this.#processes.size > 0 && isFull()) this.#makeSpace();
    this.#nameLength += length;
    const since = Math.floor(now / 1_000);
    const { at, serial, parentPid, userId, lengths } = details;
    const shared = this.#shared(executable);
    this.#processes.set(pid, { executable: shared, since, started, at, serial, parentPid, userId, lengths });
  }

  /** Removes the oldest entry, preferably of an ended process: long-lived processes are the interesting ones. */
  #makeSpace(): void {
    for (let looks = 0; ; looks += 1) {
      const [pid, entry] = this.#oldest.next();
      if (looks < MAX_LOOKS && this.#proc.inode(pid) !== undefined) {
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
    if (this.#names.size >= MAX_SHARED) this.#names.clear(); // those in use stay with their processes
    const own = copied(name);
    this.#names.set(own, own);
    return own;
  }
}

const lengthsOf = (argv: readonly string[] | undefined, userId: number): readonly number[] | undefined =>
  userId === 0 ? argv?.slice(0, MAX_BOUNDS).map(({ length }) => length) : undefined;

/** The first arguments of a command line, by their lengths. */
function argumentsIn(commandLine: string, lengths: readonly number[]): readonly string[] {
  let from = 0;
  return lengths.map((length) => {
    const argument = commandLine.slice(from, from + length);
    from += length + 1;
    return argument;
  });
}

/** Whether only the program is known, from a record of another action than its start; see `seen`. */
const isOnlySeen = ({ at, parentPid }: Entry): boolean => at === -Infinity && parentPid === 0;

const isPid = (pid: number) => Number.isInteger(pid) && pid > 0 && pid <= LARGEST_PID;

/** At this number, a stale iterator retains some four times the map's memory. */
const MAX_STEPS = 4 * MAX_PROCESSES;

/**
 * Iterates over a map from its oldest entry on, while entries are added and removed. A new iterator at each step would have
 * to skip everything removed at the beginning. But an iterator that is not advanced retains every entry that the map has had
 * since: V8 reallocates the table now and then, and chains old tables for existing iterators.
 */
class Oldest<K, V> {
  readonly #map: ReadonlyMap<K, V>;
  #entries: Iterator<[K, V], undefined> | undefined;
  #steps = 0;

  constructor(map: ReadonlyMap<K, V>) {
    this.#map = map;
  }

  /** An existing entry, usually one that was not returned since it was added. The map must not be empty. */
  next(): [K, V] {
    for (;;) {
      if (this.#steps >= MAX_STEPS) this.rest();
      this.#entries ??= this.#map.entries();
      this.#steps += 1;
      const { value, done } = this.#entries.next();
      if (done !== true) return value;
      this.rest();
    }
  }

  /** Call this while space is left. */
  rest(): void {
    this.#entries = undefined;
    this.#steps = 0;
  }
}
