import { closeSync, openSync, readlinkSync, readSync } from 'node:fs';
import { seconds } from '../../../../core/base/duration.ts';
import { livingThread, parseStat } from '../../../host/proc-folder.ts';
import type { QuestionKind } from '../../../reader/question.ts';

/* Runs in the reader. Reading /proc/PID/cmdline takes the process's memory lock, which the process itself can hold for as
 * long as it likes; the reading process then hangs until SIGKILL. */

export interface AskedProcess {
  /** The host's /proc. */
  readonly proc: string;
  readonly pid: number;
  /** Start time from its `stat`: distinguishes it from another process with the same pid. */
  readonly startTicks: number;
  /** Its effective user, in the agent's own user namespace. */
  readonly userId: number;
  /** The program that it must still be running, if that matters. */
  readonly executable?: string;
  /** Limit in bytes, at most MAX_COMMAND_LINE_BYTES; the rest is not read. */
  readonly maxBytes?: number;
}

export const MAX_COMMAND_LINE_BYTES = 128 * 1024;
/** JSON escapes some characters in six bytes. */
const MAX_ANSWER_BYTES = 6 * MAX_COMMAND_LINE_BYTES + 1_024;

/** Answers with the arguments, each ended by a zero byte; `null` when the process ended or runs another program. */
export const COMMAND_LINE: QuestionKind<AskedProcess, string | null> = {
  name: 'command line',
  limit: seconds(1),
  maxBytes: MAX_ANSWER_BYTES,
  attempts: 2,
  subject: ({ pid, startTicks, userId }) => ({ id: `${pid} ${startTicks}`, owner: String(userId) }),
};

const buffer = Buffer.allocUnsafeSlow(MAX_COMMAND_LINE_BYTES);

export function readCommandLine({ proc, pid, startTicks, executable, maxBytes }: AskedProcess): string | null {
  const process = `${proc}/${pid}`;
  try {
    const before = parseStat(read(`${process}/stat`, 4_096));
    const folder = before?.isLeaderDead === true ? livingThread(process) : process;
    if (folder === undefined) return null;
    if (executable !== undefined && readlinkSync(`${folder}/exe`) !== executable) return null;
    const text = read(`${folder}/cmdline`, Math.min(maxBytes ?? MAX_COMMAND_LINE_BYTES, MAX_COMMAND_LINE_BYTES));
    const stat = parseStat(read(`${process}/stat`, 4_096));
    if (stat === undefined || stat.isDead || stat.startTicks !== startTicks) return null;
    // A thread that has exited has no arguments any more, which looks as if the program had none.
    return text === '' && stat.isLeaderDead && folder === process ? null : text;
  } catch {
    return null; // ENOENT or ESRCH: it ended; EACCES: hidepid
  }
}

/** Files in /proc report no size, and return at most a page per read. */
function read(path: string, maxBytes: number): string {
  const file = openSync(path, 'r');
  try {
    let length = 0;
    for (let got = -1; got !== 0 && length < maxBytes; length += got) {
      got = readSync(file, buffer, length, maxBytes - length, null);
    }
    return buffer.toString('utf8', 0, length);
  } finally {
    closeSync(file);
  }
}
