import { createHash } from 'node:crypto';
import {
  type BigIntStats,
  closeSync,
  constants,
  fstatSync,
  openSync,
  read,
  readlinkSync,
  readSync,
} from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Clock, type Moment, momentOf, wallOffset } from '../base/clock.ts';
import { type Duration, milliseconds, minutes, seconds } from '../base/duration.ts';
import { FIRST_ROOT, hasOwnMounts } from '../base/first-root.ts';
import type { StartedProcess } from '../contract/sources.ts';
import type { Place } from './containers.ts';
import { LATER, LONGEST_MEMORY, SMALLEST_STEP } from './living-processes.ts';
import { LocalFiles } from './local-files.ts';
import { TimeBudget } from './time-budget.ts';

/** Files whose digest is kept in mind. Each costs some 600 bytes. */
const MOST_FILES = 1_024;
const MOST_BYTES = 256 * 1024 * 1024;

/** Of one core, for all hashing, and what is saved up for a burst. */
const SHARE = 0.02;
const BURST = milliseconds(100);
/** What large files leave of it to small ones. */
const RESERVED = milliseconds(50);
/** A large file is read in slices, for this long at a time. */
const SPELL = milliseconds(5);
/** How long it rests in between, and for how many starts meanwhile it goes on resting: others need the machine now. */
const REST = milliseconds(SPELL / SHARE);
const MANY_STARTS = 25;
const LONGEST_REST = minutes(1);

/** Longer ones are read in the background. */
const MOST_BYTES_AT_ONCE = 2 * 1024 * 1024;
/** So are those that turn out to take longer than this. */
const LONGEST_TURN = milliseconds(10);
const BYTES_PER_TURN = 128 * 1024;
const BYTES_PER_SLICE = 256 * 1024;
const MOST_WAITING = 32;

/**
 * Times of files and of audit come from the kernel's clock tick, of at most 10 ms; those of FAT have 2 s. Two changes
 * within one look like one: what was hashed sooner after a change than this may have changed once more unseen.
 */
const COARSEST_TIME = seconds(2);
/** Of a start of which nobody knows by when it was. */
const NO_BOUND = milliseconds(Number.POSITIVE_INFINITY);

/** What the kernel puts behind the path of an image that nothing refers to by this name any more; see proc_pid_exe(5). */
const DELETED = ' (deleted)';

/** What changes whenever a file becomes another, or gets other content. */
type FileState = Pick<BigIntStats, 'dev' | 'ino' | 'ctimeNs' | 'mtimeNs' | 'size'>;

interface Known {
  readonly file: FileState;
  /** By the wall clock, in milliseconds, as is hashedAt. */
  readonly changedAt: number;
  /** The path its process said it has. */
  readonly program: string;
  /** Absent while it waits to be read, and for good when it can't be. */
  sha256?: string;
  /** When it was found to have this digest. */
  hashedAt: number;
  /** When the file was last looked at by its path, or a moment before. */
  seen: Moment;
  /** Asked for since this was last considered for removal. */
  used: boolean;
}

/** Where a file is, as long as it is there: under a path of the host's, as the image of a process, or both. */
interface Whereabouts {
  readonly path?: string;
  readonly pid?: number;
}

/** A file that is to be read. */
interface Task {
  readonly key: string;
  readonly known: Known;
  readonly where: Whereabouts;
}

/** What came of reading a file: its digest, or why there is none. */
type Outcome = { readonly sha256: string } | 'changed' | 'unreadable' | 'takesLong';

const readAsync = promisify(read);

/**
 * SHA-256 of programs, by what their processes run.
 *
 * A process that lives is asked for its image itself: /proc/PID/exe is the very file, even when it was deleted or
 * replaced, or lies in a container or chroot. Of one that has ended, the path must do: it means the file there, unless
 * that changed after the start; then the digest is left out. That of a process in a container is, too. What is left: a
 * process that ended at once, in a file system of its own that isn't known as a container's, or after somebody has put
 * another folder in the place of the program's.
 *
 * Digests are kept by path, or for what a path doesn't lead to by the file's number, and hold for one state of the file.
 * Small files are hashed at once, larger ones in the background, for the next start; both within a fiftieth of one core.
 */
export class ExecutableHashes {
  readonly #proc: string;
  readonly #clock: Clock;
  readonly #files: LocalFiles;
  readonly #budget: TimeBudget;
  readonly #known = new Map<string, Known>();
  readonly #buffer = Buffer.allocUnsafeSlow(BYTES_PER_TURN);
  /** How often it was asked. */
  #asked = 0;
  #waiting: Task[] = [];
  #background: Promise<void> | undefined;

  constructor({ hostRoot, clock }: { hostRoot: string; clock: Clock }) {
    this.#proc = join(hostRoot, 'proc');
    // A service's own /tmp and /home are not those that programs are started from.
    const isFirst = hostRoot === '/' && hasOwnMounts();
    this.#clock = clock;
    this.#files = new LocalFiles({ proc: this.#proc, root: isFirst ? FIRST_ROOT : hostRoot });
    this.#budget = new TimeBudget(clock, SHARE, BURST);
  }

  /**
   * @param startedBy when it had certainly been started, by the monotonic clock: what has been looked at since need not be
   *   looked at again
   * @returns in hexadecimal; `undefined` when it isn't known, or not yet. Never throws, never waits
   */
  of(
    process: StartedProcess,
    { onHost, gone }: Place,
    now: Moment = momentOf(this.#clock),
    startedBy: Duration = NO_BOUND,
  ): string | undefined {
    const { executable, startedAt } = process;
    this.#asked += 1;
    if (executable === '') return undefined;
    const byPath = onHost && executable.startsWith('/') && !executable.endsWith(DELETED);
    const { pid } = process;
    const handle = gone ? 'absent' : this.#files.image(pid);
    if (handle === 'mount') return undefined;
    const image = handle === 'absent' ? undefined : stateOf(handle);
    if (image === undefined) return byPath ? this.#atPath(executable, startedAt, now, startedBy) : undefined;

    if (byPath) {
      const known = this.#known.get(executable);
      if (known !== undefined && isSame(known.file, image) && holds(known, startedAt)) return recall(known);
      const there = this.#stateAt(executable);
      if (there !== undefined && isSame(there, image))
        return this.#hash(executable, executable, image, { path: executable, pid }, now);
    }
    const key = `${image.dev}:${image.ino}`;
    const known = this.#known.get(key);
    const isKnown = known?.program === executable && isSame(known.file, image);
    if (isKnown && holds(known, startedAt)) return recall(known);
    if (isKnown || isImage(`${this.#proc}/${pid}/exe`, executable))
      return this.#hash(key, executable, image, { pid }, now);
    // It runs another program by now.
    return byPath ? this.#atPath(executable, startedAt, now, startedBy) : undefined;
  }

  /** Resolves when nothing waits to be read any more. Never rejects. */
  async idle(): Promise<void> {
    await this.#background;
  }

  /** Of the file at a path, if it has been that one ever since the start. */
  #atPath(executable: string, startedAt: Date | undefined, now: Moment, startedBy: Duration): string | undefined {
    const known = this.#known.get(executable);
    if (known !== undefined && sawAfter(known, startedAt, now, startedBy) && holds(known, startedAt)) {
      return changedSince(startedAt, known.changedAt, known.seen.wall) ? undefined : recall(known);
    }
    const file = this.#stateAt(executable);
    if (file === undefined || !isProgram(file)) return undefined;
    if (changedSince(startedAt, Number(file.ctimeMs), now.wall)) return undefined;
    if (known !== undefined && isSame(known.file, file)) {
      known.seen = now;
      if (holds(known, startedAt)) return recall(known);
    }
    return this.#hash(executable, executable, file, { path: executable }, now);
  }

  #stateAt(path: string): BigIntStats | undefined {
    const handle = this.#files.at(path);
    return typeof handle === 'number' ? stateOf(handle) : undefined;
  }

  /** @param now before the file was looked at */
  #hash(key: string, executable: string, file: BigIntStats, where: Whereabouts, now: Moment): string | undefined {
    const { dev, ino, ctimeNs, mtimeNs, size } = file;
    const known: Known = {
      file: { dev, ino, ctimeNs, mtimeNs, size },
      changedAt: Number(file.ctimeMs),
      program: textOfItsOwn(executable),
      hashedAt: now.wall,
      seen: now,
      used: true,
    };
    const task = { key: textOfItsOwn(key), known, where };
    if (size <= MOST_BYTES_AT_ONCE && this.#budget.left() > 0) {
      const outcome = this.#readAtOnce(task);
      if (outcome !== 'takesLong') return this.#settle(task, outcome);
    }
    if (size > MOST_BYTES) this.#remember(task);
    else this.#readLater(task);
    return undefined;
  }

  #settle(task: Task, outcome: Outcome): string | undefined {
    if (outcome === 'changed') {
      if (this.#known.get(task.key) === task.known) this.#known.delete(task.key);
      return undefined;
    }
    if (typeof outcome === 'object') task.known.sha256 = outcome.sha256;
    this.#remember(task);
    return task.known.sha256;
  }

  /** Makes room by giving up the oldest that hasn't been asked for again. */
  #remember({ key, known }: Task): void {
    this.#known.set(key, known);
    for (const [oldest, candidate] of this.#known) {
      if (this.#known.size <= MOST_FILES) return;
      this.#known.delete(oldest);
      if (!candidate.used) continue;
      candidate.used = false;
      this.#known.set(oldest, candidate);
    }
  }

  #readAtOnce({ known, where }: Task): Outcome {
    const since = this.#clock.monotonic();
    const file = this.#open(where, known.file);
    if (typeof file === 'string') return file;
    try {
      const digest = createHash('sha256');
      for (;;) {
        const length = readSync(file, this.#buffer, 0, BYTES_PER_TURN, null);
        if (length === 0) break;
        digest.update(this.#buffer.subarray(0, length));
        if (this.#clock.monotonic() - since > LONGEST_TURN) return 'takesLong';
      }
      return isSame(fstatSync(file, { bigint: true }), known.file) ? { sha256: digest.digest('hex') } : 'changed';
    } catch {
      return 'unreadable';
    } finally {
      closeSync(file);
      this.#budget.pay(since);
    }
  }

  #readLater(task: Task): void {
    if (this.#waiting.length >= MOST_WAITING || this.#waiting.some(({ key }) => key === task.key)) return;
    this.#remember(task);
    this.#waiting.push(task);
    this.#background ??= this.#readAll().finally(() => {
      this.#background = undefined;
    });
  }

  /** The smallest first: the others would make all wait. */
  async #readAll(): Promise<void> {
    const buffer = Buffer.allocUnsafeSlow(BYTES_PER_SLICE);
    while (this.#waiting.length > 0) {
      const next = this.#waiting.reduce((a, b) => (b.known.file.size < a.known.file.size ? b : a));
      this.#settle(next, await this.#readInSlices(next, buffer));
      this.#waiting = this.#waiting.filter((task) => task !== next);
    }
  }

  async #readInSlices({ known, where }: Task, buffer: Buffer): Promise<Outcome> {
    const age = this.#clock.now().getTime() - known.changedAt;
    if (age >= 0 && age < COARSEST_TIME) await this.#clock.sleep(milliseconds(COARSEST_TIME - age));
    await this.#rest();
    known.hashedAt = this.#clock.now().getTime();
    const file = this.#open(where, known.file);
    if (typeof file === 'string') return file;
    try {
      const digest = createHash('sha256');
      let since = this.#clock.monotonic();
      for (let total = 0; ; ) {
        const { bytesRead } = await readAsync(file, buffer, 0, BYTES_PER_SLICE, null);
        digest.update(buffer.subarray(0, bytesRead));
        since = this.#budget.pay(since);
        total += bytesRead;
        if (bytesRead === 0) break;
        if (total > known.file.size) return 'changed';
        if (this.#budget.left() >= RESERVED) continue;
        await this.#rest();
        since = this.#clock.monotonic();
      }
      return isSame(fstatSync(file, { bigint: true }), known.file) ? { sha256: digest.digest('hex') } : 'changed';
    } catch {
      return 'unreadable';
    } finally {
      closeSync(file);
    }
  }

  /**
   * Opens just that file. It is looked at before it is opened: somebody may have put a device in its place, and opening
   * one can have effects. Doesn't wait where somebody holds a lease on it.
   */
  #open({ path, pid }: Whereabouts, file: FileState): number | 'changed' | 'unreadable' {
    const ways = [
      () => (path === undefined ? 'absent' : this.#files.at(path)),
      () => (pid === undefined ? 'absent' : this.#files.image(pid)),
    ];
    for (const way of ways) {
      const handle = way();
      if (typeof handle === 'string') continue;
      const there = stateOf(handle);
      if (there === undefined || !isSame(there, file)) continue;
      try {
        return openSync(`/proc/self/fd/${handle}`, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
      } catch {
        return 'unreadable';
      }
    }
    return 'changed';
  }

  async #rest(): Promise<void> {
    const latest = this.#clock.monotonic() + LONGEST_REST;
    for (let before = Number.NEGATIVE_INFINITY; this.#asked - before > MANY_STARTS; ) {
      if (this.#clock.monotonic() >= latest) return;
      before = this.#asked;
      const wait = this.#budget.untilThereIs(milliseconds(RESERVED + SPELL));
      await this.#clock.sleep(milliseconds(Math.max(REST, wait)));
    }
  }
}

function recall(known: Known): string | undefined {
  known.used = true;
  return known.sha256;
}

/** Many start within one batch of records; the first look at their program serves for all of them. */
const sawAfter = ({ seen }: Known, startedAt: Date | undefined, now: Moment, startedBy: Duration): boolean =>
  startedAt !== undefined &&
  (startedBy <= seen.monotonic || startedAt.getTime() + LATER <= seen.wall) &&
  now.monotonic - seen.monotonic <= LONGEST_MEMORY &&
  Math.abs(wallOffset(now) - wallOffset(seen)) <= SMALLEST_STEP;

/** Whether a digest is right for a start: not when the file may have changed unseen since it was hashed. */
const holds = ({ changedAt, hashedAt }: Known, startedAt: Date | undefined): boolean =>
  Math.abs(hashedAt - changedAt) >= COARSEST_TIME ||
  (startedAt !== undefined && startedAt.getTime() + LATER <= hashedAt);

/** Whether a file was changed, and maybe put in place, after the start. Had it been in the future, the clock was set back. */
const changedSince = (startedAt: Date | undefined, changedAt: number, seenAt: number): boolean =>
  startedAt !== undefined && changedAt > startedAt.getTime() && changedAt <= seenAt + COARSEST_TIME;

const isSame = (a: FileState, b: FileState): boolean =>
  a.ino === b.ino && a.ctimeNs === b.ctimeNs && a.size === b.size && a.mtimeNs === b.mtimeNs && a.dev === b.dev;

/** A file that can be run, so none of /proc and /sys, where reading can have effects. */
const isProgram = ({ mode, size }: BigIntStats): boolean =>
  (mode & 0o170000n) === 0o100000n && (mode & 0o111n) !== 0n && size > 0n;

/** Whether a process still runs the program it was started with. In a chroot, the reader's path of it is a longer one. */
function isImage(link: string, executable: string): boolean {
  try {
    const target = readlinkSync(link);
    return target.endsWith(executable) || target.endsWith(`${executable}${DELETED}`);
  } catch {
    return false; // ended, or hidden
  }
}

/** Of a file that is on a local file system. */
function stateOf(handle: number): BigIntStats | undefined {
  try {
    return fstatSync(handle, { bigint: true });
  } catch {
    return undefined;
  }
}

/** A path is mostly a part of a record's text, and V8 keeps the whole of that as long as one of its parts is held. */
const textOfItsOwn = (text: string) => Buffer.from(text).toString();
