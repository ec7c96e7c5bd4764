import { connect, type Socket } from 'node:net';
import type { Clock } from '../base/clock.ts';
import { type Duration, seconds } from '../base/duration.ts';
import { exchange, type HttpAnswer, type HttpRequest } from './http.ts';
import { limited, untilAborted } from './limited.ts';

/** Length of sun_path without its terminating zero, see unix(7). Node truncates a longer path, which names another file. */
const MAX_PATH_BYTES = 107;

/** @returns what is wrong with the path of a Unix socket, or `undefined` */
export function socketPathProblem(path: string): string | undefined {
  const length = Buffer.byteLength(path);
  return length > MAX_PATH_BYTES
    ? `has ${length} bytes, more than the ${MAX_PATH_BYTES} that a socket can have`
    : undefined;
}

export interface UnixOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** For connecting and the answer together; default 5 s. */
  readonly limit?: Duration;
}

/** Services on this machine answer from memory, or from a TPM. */
const LIMIT = seconds(5);

/**
 * One HTTP request over a Unix socket, to a local service of IoT Edge or of the Identity Service. The answer is bounded.
 *
 * @throws TimeLimitError; the reason of the signal; the system's or the HTTP parser's error
 */
export const requestUnix = (
  socketPath: string,
  request: HttpRequest,
  { clock, signal, limit = LIMIT }: UnixOptions,
): Promise<HttpAnswer> =>
  limited({ clock, limit, label: `asking ${socketPath}`, signal }, async (step) =>
    exchange(await open(socketPath, step), 'localhost', request, step),
  );

/** In bytes, without the final zero; a longer path would be cut, and name another socket. See unix(7). */
const LONGEST_PATH = 107;

async function open(path: string, signal: AbortSignal): Promise<Socket> {
  if (Buffer.byteLength(path) > LONGEST_PATH) {
    const message = `the path of a socket must not be longer than ${LONGEST_PATH} bytes: ${path}`;
    throw Object.assign(new Error(message), { code: 'ENAMETOOLONG' });
  }
  const socket = connect({ path });
  try {
    await untilAborted<void>(signal, (resolve, reject) => {
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve();
      });
    });
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  }
}
