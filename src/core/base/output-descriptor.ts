import { constants, fstatSync, openSync, write, writeSync } from 'node:fs';

/**
 * Writes as much as possible without blocking. The caller may reuse `bytes` afterwards.
 *
 * @returns the number of bytes written
 * @throws EAGAIN if nothing can be written now; any other system error, as a LateFailure if an earlier write failed
 */
export type Send = (bytes: Uint8Array) => number;

const NEWLINE = 0x0a;

/**
 * Returns a function that writes to standard output or standard error without blocking.
 *
 * O_NONBLOCK is a flag of the open file description, which other processes share: the shell, the other programs of a
 * pipeline. So a pipe or a terminal is reopened for this process alone. A socket can't be reopened; systemd makes one
 * for each service, and Node sets the flag on it when process.stdout is accessed. Everything else, including regular
 * files, on which O_NONBLOCK has no effect, is written by a thread.
 */
export function sendTo(descriptor: 1 | 2): Send {
  let send: Send | undefined;
  return (bytes) => {
    send ??= choose(descriptor);
    return send(bytes);
  };
}

function choose(descriptor: 1 | 2): Send {
  const stats = fstatSync(descriptor);
  if (stats.isFIFO() || stats.isCharacterDevice()) {
    try {
      const flags = constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY;
      const own = openSync(`/proc/self/fd/${descriptor}`, flags);
      return (bytes) => writeSync(own, bytes);
    } catch {
      // It belongs to another user, or the pipe has no reader any more.
    }
  }
  if (stats.isFIFO() || stats.isSocket()) {
    const stream: unknown = descriptor === 1 ? process.stdout : process.stderr;
    if (hasHandle(stream)) return (bytes) => writeSync(descriptor, bytes);
  }
  return byThread(descriptor);
}

/** Whether libuv polls the stream and has therefore set O_NONBLOCK: pipes and stream sockets, not datagram sockets. */
const hasHandle = (stream: unknown): boolean => (stream as { _handle?: unknown } | undefined)?._handle != null;

/** An error of an earlier write, whose bytes were already counted as written. */
export interface LateFailure extends Error {
  /** Whole lines among those bytes, which are lost. */
  readonly lostLines: number;
}

/**
 * Writes on a thread. While a write is in progress, further calls throw EAGAIN. A write that fails is reported by the
 * next call. The rest of a line that was written in part is written before the next bytes.
 *
 * @param writeFile for tests
 */
export function byThread(descriptor: number, writeFile: typeof write = write): Send {
  let isWriting = false;
  let failure: LateFailure | undefined;
  let cut: Uint8Array = new Uint8Array();
  const writeAll = (bytes: Uint8Array, isCut: boolean) =>
    writeFile(descriptor, bytes, (error, written) => {
      if (error === null && written < bytes.length) {
        return writeAll(bytes.subarray(written), written > 0 ? bytes[written - 1] !== NEWLINE : isCut);
      }
      isWriting = false;
      if (error === null) return;
      const end = isCut ? bytes.indexOf(NEWLINE) + 1 || bytes.length : 0;
      cut = bytes.subarray(0, end);
      const lostLines = bytes.subarray(end).reduce((lines, byte) => lines + (byte === NEWLINE ? 1 : 0), 0);
      failure = Object.assign(error, { lostLines });
    });
  return (bytes) => {
    if (isWriting) throw Object.assign(new Error('a write is in progress'), { code: 'EAGAIN' });
    if (failure !== undefined) {
      const error = failure;
      failure = undefined;
      throw error;
    }
    isWriting = true;
    writeAll(Buffer.concat([cut, bytes]), cut.length > 0);
    cut = new Uint8Array();
    return bytes.length;
  };
}
