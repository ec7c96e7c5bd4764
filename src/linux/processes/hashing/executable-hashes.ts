import { createHash } from 'node:crypto';
import { type BigIntStats, closeSync, fstatSync, readlinkSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { type Clock, type Moment, momentOf, wallOffset } from '../../../base/clock.ts';
import { type Duration, milliseconds } from '../../../base/duration.ts';
import type { StartedProcess } from '../../../contract/sources.ts';
import { isProgram, isSame, stateOf } from '../../../host/file-state.ts';
import { hostFiles, type LocalFile, type LocalFiles } from '../../../host/local-files.ts';
import type { ProcessLocation } from '../containers.ts';
import { LATER, LONGEST_MEMORY, SMALLEST_STEP } from '../living-processes.ts';
import { BackgroundReader } from './background-reader.ts';
import { type Digest, digestOf, OMITTED } from './digest.ts';
import { type Allowance, HashingTime, type Payer, ROOT } from './hashing-time.ts';
import { COARSEST_TIME, type Known, KnownDigests } from './known-digests.ts';
import { type Outcome, openProgram, type Task, type Whereabouts } from './program-file.ts';

/** Longer files are not read at all. */
const MOST_BYTES = 256 * 1024 * 1024;
/** Longer ones are read in the background. */
const MOST_BYTES_AT_ONCE = 2 * 1024 * 1024;
/** So are those that turn out to take longer than this. */
const LONGEST_TURN = milliseconds(10);
const BYTES_PER_TURN = 128 * 1024;

/** Of a start of which nobody knows by when it was. */
const NO_BOUND = milliseconds(Number.POSITIVE_INFINITY);

/** What the kernel puts behind the path of an image that nothing refers to by this name any more; see proc_pid_exe(5). */
const DELETED = ' (deleted)';

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
 * Small files are hashed at once, larger ones in the background, for the next start; both within a fiftieth of one core,
 * of which no user can spend what is kept for others. Files that aren't on a local file system are not looked at.
 */
export class ExecutableHashes {
  readonly #proc: string;
  readonly #clock: Clock;
  readonly #files: LocalFiles;
  readonly #time: HashingTime;
  /** For looks at files and lists of mounts, apart: they take little, and tell what hashing has no time for. */
  readonly #lookTime: HashingTime;
  readonly #known = new KnownDigests();
  readonly #buffer = Buffer.allocUnsafeSlow(BYTES_PER_TURN);
  readonly #background: BackgroundReader;
  /** How often it was asked. */
  #asked = 0;

  constructor({
    hostRoot,
    clock,
    files = hostFiles({ hostRoot, clock }),
  }: {
    hostRoot: string;
    clock: Clock;
    files?: LocalFiles;
  }) {
    this.#proc = join(hostRoot, 'proc');
    this.#clock = clock;
    this.#files = files;
    this.#time = new HashingTime(clock);
    this.#lookTime = new HashingTime(clock);
    this.#background = new BackgroundReader({
      clock,
      files: this.#files,
      settle: (task, outcome) => void this.#settle(task, outcome),
      asked: () => this.#asked,
    });
  }

  /**
   * @param startedBy when it had certainly been started, by the monotonic clock: what has been looked at since need not be
   *   looked at again
   * @returns the digest in hexadecimal, or why it isn't known, or not yet. Never throws, never waits
   */
  of(
    process: StartedProcess,
    { onHost, gone }: ProcessLocation,
    now: Moment = momentOf(this.#clock),
    startedBy: Duration = NO_BOUND,
  ): Digest {
    const { executable = '', startedAt, pid } = process;
    this.#asked += 1;
    if (executable === '') return OMITTED.unreadable;
    const byPath = onHost && executable.startsWith('/') && !executable.endsWith(DELETED);
    const allowance = this.#time.of(payerOf(process));
    const image = gone ? 'absent' : this.#look(this.#files.image(pid, this.#lookTime.of(allowance.payer)));
    if (image === 'absent')
      return byPath ? this.#atPath(executable, startedAt, now, startedBy, allowance) : OMITTED.unreadable;
    if (typeof image === 'string') return OMITTED[image];

    if (byPath) {
      const known = this.#known.get(executable);
      if (known !== undefined && isSame(known.file, image) && holds(known, startedAt)) return recall(known);
      const there = this.#look(this.#files.at(executable, this.#lookTime.of(allowance.payer)));
      if (typeof there !== 'string' && isSame(there, image))
        return this.#hash(executable, executable, image, { path: executable, pid }, now, allowance);
    }
    const key = `${image.dev}:${image.ino}`;
    const known = this.#known.get(key);
    const isKnown = known?.program === executable && isSame(known.file, image);
    if (isKnown && holds(known, startedAt)) return recall(known);
    if (isKnown || isImage(`${this.#proc}/${pid}/exe`, executable))
      return this.#hash(key, executable, image, { pid }, now, allowance);
    // It runs another program by now.
    return byPath ? this.#atPath(executable, startedAt, now, startedBy, allowance) : OMITTED.unreadable;
  }

  /** Resolves when nothing waits to be read any more. Never rejects. */
  async idle(): Promise<void> {
    await this.#background.idle();
  }

  #look(file: LocalFile): BigIntStats | Exclude<LocalFile, number> {
    return typeof file === 'number' ? (stateOf(file) ?? 'absent') : file;
  }

  /** Of the file at a path, if it has been that one ever since the start. */
  #atPath(
    executable: string,
    startedAt: Date | undefined,
    now: Moment,
    startedBy: Duration,
    allowance: Allowance,
  ): Digest {
    const known = this.#known.get(executable);
    if (known !== undefined && sawAfter(known, startedAt, now, startedBy) && holds(known, startedAt)) {
      return changedSince(startedAt, known.changedAt, known.seen.wall) ? OMITTED.unreadable : recall(known);
    }
    const file = this.#look(this.#files.at(executable, this.#lookTime.of(allowance.payer)));
    if (typeof file === 'string') return file === 'absent' ? OMITTED.unreadable : OMITTED[file];
    if (!isProgram(file)) return OMITTED.unreadable;
    if (changedSince(startedAt, Number(file.ctimeMs), now.wall)) return OMITTED.unreadable;
    if (known !== undefined && isSame(known.file, file)) {
      known.seen = now;
      if (holds(known, startedAt)) return recall(known);
    }
    return this.#hash(executable, executable, file, { path: executable }, now, allowance);
  }

  /** @param now before the file was looked at */
  #hash(
    key: string,
    executable: string,
    file: BigIntStats,
    where: Whereabouts,
    now: Moment,
    allowance: Allowance,
  ): Digest {
    const { dev, ino, ctimeNs, mtimeNs, size } = file;
    const known: Known = {
      file: { dev, ino, ctimeNs, mtimeNs, size },
      changedAt: Number(file.ctimeMs),
      program: textOfItsOwn(executable),
      payer: allowance.payer,
      digest: OMITTED.budget,
      hashedAt: now.wall,
      seen: now,
      used: true,
    };
    const task = { key: textOfItsOwn(key), known, where };
    if (size > MOST_BYTES) {
      known.digest = OMITTED.size;
      this.#known.put(task.key, known);
      return known.digest;
    }
    if (size <= MOST_BYTES_AT_ONCE && allowance.left() > 0) {
      const outcome = this.#readAtOnce(task, allowance);
      if (outcome !== 'takesLong') return this.#settle(task, outcome);
    }
    if (this.#background.add(task, allowance) === 'added') this.#known.put(task.key, known);
    return OMITTED.budget;
  }

  #settle({ key, known }: Task, outcome: Outcome): Digest {
    if (outcome === 'changed') {
      if (this.#known.get(key) === known) this.#known.delete(key);
      return OMITTED.unreadable;
    }
    known.digest = typeof outcome === 'object' ? digestOf(outcome.sha256) : OMITTED.unreadable;
    this.#known.put(key, known);
    return known.digest;
  }

  #readAtOnce({ known, where }: Task, allowance: Allowance): Outcome {
    const since = this.#clock.monotonic();
    const file = openProgram(this.#files, where, known.file);
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
      allowance.pay(since);
    }
  }
}

/**
 * Who pays for a program's digest. The user who logged in: user ids of his namespaces are as many as he likes. A program
 * that a user runs as root is root's; he can't choose which ones there are.
 */
const payerOf = ({ userId, loginUserId }: StartedProcess): Payer => (userId === ROOT ? ROOT : (loginUserId ?? userId));

function recall(known: Known): Digest {
  known.used = true;
  return known.digest;
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

/** Whether a process still runs the program it was started with. In a chroot, the reader's path of it is a longer one. */
function isImage(link: string, executable: string): boolean {
  try {
    const target = readlinkSync(link);
    return target.endsWith(executable) || target.endsWith(`${executable}${DELETED}`);
  } catch {
    return false; // ended, or hidden
  }
}

/** A path is mostly a part of a record's text, and V8 keeps the whole of that as long as one of its parts is held. */
const textOfItsOwn = (text: string) => Buffer.from(text).toString();
