import { createHash } from 'node:crypto';
import { type BigIntStats, closeSync, fstatSync, readlinkSync, readSync } from 'node:fs';
import { type Clock, type Moment, momentOf, wallOffset } from '../../../../core/base/clock.ts';
import { type Duration, milliseconds, NEVER } from '../../../../core/base/duration.ts';
import { copied } from '../../../../core/base/values.ts';
import type { StartedProcess } from '../../../../core/contract/streams.ts';
import { COARSEST_TIME, isProgram, isSame, stateOf } from '../../../host/file-state.ts';
import { type Allowance, HashingTime, type Payer, ROOT } from '../../../host/hashing-time.ts';
import { hostProc } from '../../../host/in-root.ts';
import type { LocalFile, LocalFiles } from '../../../host/local-files.ts';
import { cachedHostFiles } from '../../native/cached-names.ts';
import type { ProcessLocation } from '../containers.ts';
import { LATER, LONGEST_MEMORY, SMALLEST_STEP } from '../living-processes.ts';
import { BackgroundReader } from './background-reader.ts';
import { type Digest, digestOf, type Known, KnownDigests, OMITTED } from './known-digests.ts';
import { type Outcome, openProgram, type Task, type Whereabouts } from './program-file.ts';

/** Size limit; longer files are not hashed. */
const MAX_BYTES = 256 * 1024 * 1024;
/** Longer files are read in the background. */
const MAX_BYTES_AT_ONCE = 2 * 1024 * 1024;
/** Files that take longer than this to read are, too. */
const LONGEST_TURN = milliseconds(10);
const BYTES_PER_TURN = 128 * 1024;

/** What the kernel appends to the path of a program whose file was deleted or replaced; see proc_pid_exe(5). */
const DELETED = ' (deleted)';

/**
 * SHA-256 digests of the programs that processes run.
 *
 * For a running process, /proc/PID/exe is the file itself, even if it was deleted or replaced, or is in a container or
 * chroot. For a process that has exited, the file at its path is used, unless it changed after the start; then the digest is
 * left out, as it is for a process in a container. Not detected: a process that ended at once and had a mount namespace
 * without being in a known container, or a folder on the path that was replaced.
 *
 * Digests are kept by path, or by inode where the path does not lead to the file, for one state of the file. Small files are
 * hashed at once, larger ones in the background, for the next start; both within a fiftieth of one core, of which no user
 * can spend what is reserved for others. Only files on local file systems are read.
 */
export class ExecutableHashes {
  readonly #proc: string;
  readonly #clock: Clock;
  readonly #files: LocalFiles;
  readonly #time: HashingTime;
  /** A separate budget for lookups of files and mounts, which are cheap and needed to know what hashing would take. */
  readonly #lookTime: HashingTime;
  readonly #known = new KnownDigests();
  readonly #buffer = Buffer.allocUnsafeSlow(BYTES_PER_TURN);
  readonly #background: BackgroundReader;
  /** Number of digests requested. */
  #asked = 0;

  constructor({
    hostRoot,
    clock,
    files = cachedHostFiles({ hostRoot, clock }),
  }: {
    hostRoot: string;
    clock: Clock;
    files?: LocalFiles;
  }) {
    this.#proc = hostProc(hostRoot);
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
   * @param startedBy when the program had certainly been started, by the monotonic clock: lookups made since then are reused;
   *   `NEVER` when that is not known
   * @returns the digest in hexadecimal, or why it is not known, or not yet. Never throws, never waits
   */
  of(
    process: StartedProcess,
    { onHost, gone }: ProcessLocation,
    now: Moment = momentOf(this.#clock),
    startedBy = NEVER,
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
    // The process runs another program by now.
    return byPath ? this.#atPath(executable, startedAt, now, startedBy, allowance) : OMITTED.unreadable;
  }

  /** Resolves when no file is waiting to be read. Never rejects. */
  async idle(): Promise<void> {
    await this.#background.idle();
  }

  #look(file: LocalFile): BigIntStats | Exclude<LocalFile, number> {
    return typeof file === 'number' ? (stateOf(file) ?? 'absent') : file;
  }

  /** The digest of the file at a path, if the file has been the same since the start. */
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
    if (typeof file === 'string') return OMITTED[file];
    if (!isProgram(file)) return OMITTED.unreadable;
    if (changedSince(startedAt, Number(file.ctimeMs), now.wall)) return OMITTED.unreadable;
    if (known !== undefined && isSame(known.file, file)) {
      known.seen = now;
      if (holds(known, startedAt)) return recall(known);
    }
    return this.#hash(executable, executable, file, { path: executable }, now, allowance);
  }

  /** @param now a time before the file was looked up */
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
      program: copied(executable),
      payer: allowance.payer,
      digest: OMITTED.budget,
      hashedAt: now.wall,
      seen: now,
      used: true,
    };
    const task = { key: copied(key), known, where };
    if (size > MAX_BYTES) {
      known.digest = OMITTED.size;
      this.#known.put(task.key, known);
      return known.digest;
    }
    if (size <= MAX_BYTES_AT_ONCE && allowance.left() > 0) {
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
 * The user whose time budget a program's digest is charged to: the login user, since a user can have any number of user
 * ids in their own namespaces. A program that runs as root is charged to root: other users cannot choose which programs
 * run as root.
 */
const payerOf = ({ userId, loginUserId }: StartedProcess): Payer => (userId === ROOT ? ROOT : (loginUserId ?? userId));

function recall(known: Known): Digest {
  known.used = true;
  return known.digest;
}

/** Many processes start within one batch of records: one lookup of their program serves all of them. */
const sawAfter = ({ seen }: Known, startedAt: Date | undefined, now: Moment, startedBy: Duration): boolean =>
  startedAt !== undefined &&
  (startedBy <= seen.monotonic || startedAt.getTime() + LATER <= seen.wall) &&
  now.monotonic - seen.monotonic <= LONGEST_MEMORY &&
  Math.abs(wallOffset(now) - wallOffset(seen)) <= SMALLEST_STEP;

/** Whether a digest is valid for a start: not if the file may have changed unnoticed since it was hashed. */
const holds = ({ changedAt, hashedAt }: Known, startedAt: Date | undefined): boolean =>
  Math.abs(hashedAt - changedAt) >= COARSEST_TIME ||
  (startedAt !== undefined && startedAt.getTime() + LATER <= hashedAt);

/** Whether a file was changed or moved into place after the start. A time in the future means that the clock was set back. */
const changedSince = (startedAt: Date | undefined, changedAt: number, seenAt: number): boolean =>
  startedAt !== undefined && changedAt > startedAt.getTime() && changedAt <= seenAt + COARSEST_TIME;

/** Whether a process still runs the program it was started with. In a chroot, the path seen from outside is longer. */
function isImage(link: string, executable: string): boolean {
  try {
    const target = readlinkSync(link);
    return target.endsWith(executable) || target.endsWith(`${executable}${DELETED}`);
  } catch {
    return false; // ended, or hidden
  }
}
