import {
  closeSync,
  lstatSync,
  opendirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  statSync,
} from 'node:fs';
import { errnoOf } from '../../core/base/errors.ts';
import { isCount } from '../../core/base/values.ts';

/** Bytes read of one file: `status` is longer only because of its list of groups. */
const MAX_BYTES = 8 * 1024;

/** PF_KTHREAD of linux/sched.h: a kernel thread. */
const KERNEL_THREAD = 0x0020_0000;

/** The fields used of /proc/PID/stat; see proc_pid_stat(5). */
export interface ProcessStat {
  readonly parentPid: number;
  /** Since boot, in units of ProcFolder.TICK_MS. */
  readonly startTicks: number;
  readonly isKernelThread: boolean;
  /**
   * The first thread has exited. Others may continue: a program whose first thread exits early must not be missed. In the
   * `stat` of a thread: that thread has exited.
   */
  readonly isLeaderDead: boolean;
  /** All threads have ended. */
  readonly isDead: boolean;
  /** The first thread is included until the parent has waited for the process. */
  readonly threads: number;
}

/**
 * Parses /proc/PID/stat.
 *
 *     4711 (a) b (c) S 1 4711 4711 0 -1 4194560 102 0 0 0 0 0 0 0 20 0 1 0 34567 2703360 …
 *
 * The program chooses the name in parentheses, which can contain spaces, parentheses and line feeds; so the last closing
 * parenthesis ends it.
 *
 * @returns `undefined` when the line is malformed
 */
export function parseStat(text: string): ProcessStat | undefined {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const [state] = fields;
  const [parentPid, flags, threads, startTicks] = [fields[1], fields[6], fields[17], fields[19]].map(Number);
  if (state === undefined || !isCount(parentPid) || !isCount(flags)) return undefined;
  if (!isCount(threads) || !isCount(startTicks)) return undefined;
  const isLeaderDead = state === 'Z' || state === 'X';
  return {
    parentPid,
    startTicks,
    isKernelThread: (flags & KERNEL_THREAD) !== 0,
    isLeaderDead,
    isDead: isLeaderDead && threads <= 1,
    threads,
  };
}

/** The arguments in /proc/PID/cmdline, each ended by a zero byte. The program may have overwritten them. */
export function parseCommandLine(text: string): string[] {
  if (text === '') return [];
  return (text.endsWith('\0') ? text.slice(0, -1) : text).split('\0');
}

/** Threads of a process that are looked at: 10 µs each. */
const MAX_THREADS = 64;

/**
 * The directory of another thread, for a process whose first thread has exited and released memory and program.
 * It contains entries such as `cmdline` and `exe`; see proc_pid_task(5). A thread that is traced is still
 * there after its end, until its tracer has waited for it.
 *
 * @returns `undefined` when none of the first threads lives
 */
export function livingThread(folder: string): string | undefined {
  const tasks = opendirSync(`${folder}/task`, { bufferSize: 2 });
  try {
    for (let looked = 0; looked < MAX_THREADS; looked += 1) {
      const entry = tasks.readSync();
      if (entry === null) return undefined;
      const thread = `${folder}/task/${entry.name}`;
      if (isAlive(thread)) return thread;
    }
    return undefined;
  } finally {
    tasks.closeSync();
  }
}

function isAlive(thread: string): boolean {
  try {
    return parseStat(readFileSync(`${thread}/stat`, 'latin1'))?.isLeaderDead === false;
  } catch {
    return false; // ended between two calls
  }
}

/**
 * The effective id of the four in /proc/PID/status: `Uid:  0  1000  0  0`. A line starts after a line feed only: in a
 * process's name the kernel escapes line feeds, but not other characters that start a line for `^`, such as a carriage return.
 */
export function parseUserId(text: string): number | undefined {
  const match = /\nUid:\t\d{1,10}\t(\d{1,10})\t/.exec(text);
  return match === null ? undefined : Number(match[1]);
}

const programAt = (folder: string): string => readlinkSync(`${folder}/exe`).replace(/ \(deleted\)$/, '');

/**
 * The host's /proc. Methods about one process return `undefined` once the process has exited.
 *
 * Reads no file for which the kernel takes the process's memory lock, such as `cmdline`: see processes/memory/.
 */
export class ProcFolder {
  /** The unit of clock ticks in /proc, whatever the kernel's own tick is: USER_HZ is 100 on all platforms of Node. */
  static readonly TICK_MS = 10;
  readonly #path: string;
  readonly #buffer = Buffer.allocUnsafeSlow(MAX_BYTES);
  /** When the time in `uptime` begins, in milliseconds since boot. */
  #uptimeFrom: number | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /** @throws the error of the file system */
  pids(): number[] {
    return readdirSync(this.#path)
      .filter((name) => /^\d{1,10}$/.test(name))
      .map(Number);
  }

  /**
   * Milliseconds since boot, with a resolution of 10 ms; the same clock as ProcessStat.startTicks.
   *
   * @throws the error of the file system
   */
  uptime(): number {
    const shown = Number(this.#read('uptime').split(' ')[0]) * 1_000;
    this.#uptimeFrom ??= this.#isUptimeReplaced() ? (this.stat(1)?.startTicks ?? 0) * ProcFolder.TICK_MS : 0;
    return this.#uptimeFrom + shown;
  }

  /**
   * Containers of LXC and Incus have a file of lxcfs instead of `uptime`, which contains how long their first process has
   * been running. Start times count from the host's boot there, too.
   */
  #isUptimeReplaced = (): boolean => statSync(`${this.#path}/uptime`).dev !== statSync(this.#path).dev;

  inode(pid: number): number | undefined {
    return lstatSync(`${this.#path}/${pid}`, { throwIfNoEntry: false })?.ino;
  }

  stat(pid: number): ProcessStat | undefined {
    const text = this.#readIfThere(`${pid}/stat`);
    return text === undefined ? undefined : parseStat(text);
  }

  /** The same, at a constant cost: for `stat`, the kernel adds up the times of all threads, 1 ms for 10,000 of them. */
  statOfFirstThread(pid: number): ProcessStat | undefined {
    const text = this.#readIfThere(`${pid}/task/${pid}/stat`);
    return text === undefined ? undefined : parseStat(text);
  }

  details(pid: number): { readonly userId: number; readonly executable?: string } | undefined {
    const status = this.#readIfThere(`${pid}/status`);
    const userId = status === undefined ? undefined : parseUserId(status);
    if (userId === undefined) return undefined;
    const executable = this.executable(pid);
    return { userId, ...(executable === undefined ? {} : { executable }) };
  }

  /** `undefined` also for a process of another user, without CAP_SYS_PTRACE. */
  executable(pid: number): string | undefined {
    const folder = `${this.#path}/${pid}`;
    try {
      return programAt(folder);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') return undefined;
    }
    try {
      const thread = livingThread(folder);
      return thread === undefined ? undefined : programAt(thread);
    } catch {
      return undefined;
    }
  }

  #readIfThere(name: string): string | undefined {
    try {
      return this.#read(name);
    } catch {
      return undefined; // ENOENT or ESRCH: ended between two calls; EACCES: hidepid
    }
  }

  /** Files in /proc report no size, and return at most a page per read. */
  #read(name: string): string {
    const file = openSync(`${this.#path}/${name}`, 'r');
    try {
      let length = 0;
      for (let read = -1; read !== 0 && length < MAX_BYTES; length += read) {
        read = readSync(file, this.#buffer, length, MAX_BYTES - length, null);
      }
      return this.#buffer.toString('utf8', 0, length);
    } finally {
      closeSync(file);
    }
  }
}
