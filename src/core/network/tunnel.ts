import type { Duplex } from 'node:stream';
import { messageOf } from '../base/errors.ts';
import { type Address, hostAndPort } from './address.ts';
import { untilAborted } from './limited.ts';

interface AskedProxy extends Address {
  readonly user?: string | undefined;
  readonly passwordFile?: string | undefined;
}

/** The proxy can't be reached, or opens no connection to the host. */
export class ProxyError extends Error {
  override readonly name = 'ProxyError';
  /** `host:port` of the proxy. */
  readonly proxy: string;
  /** The status of its answer, if it sent one. 407: it wants another password. 403: it refuses this host or port. */
  readonly status?: number;
  /** The user whose password was sent, if one was. */
  readonly user?: string;
  /** The file that the password was read from, if it was. */
  readonly passwordFile?: string;

  constructor(proxy: AskedProxy, message: string, { status, cause }: { status?: number; cause?: unknown } = {}) {
    super(message, { cause });
    this.proxy = hostAndPort(proxy);
    if (status !== undefined) this.status = status;
    if (proxy.user !== undefined) this.user = proxy.user;
    if (proxy.passwordFile !== undefined) this.passwordFile = proxy.passwordFile;
  }
}

export interface TunnelOptions {
  readonly proxy: AskedProxy;
  readonly target: Address;
  /** Value of Proxy-Authorization. */
  readonly authorization?: string | undefined;
  readonly signal: AbortSignal;
}

/** In bytes. */
const LARGEST_ANSWER = 8 * 1024;

/**
 * Asks a proxy, over a connection to it, for a tunnel to the target (CONNECT; RFC 9110, 9.3.6). Destroys the connection
 * when that fails, or when `signal` aborts.
 *
 * @throws ProxyError
 */
export async function openTunnel(
  socket: Duplex,
  { proxy, target, authorization, signal }: TunnelOptions,
): Promise<void> {
  const failed = (what: string, options?: ConstructorParameters<typeof ProxyError>[2]) =>
    new ProxyError(proxy, `the proxy ${hostAndPort(proxy)} ${what}`, options);
  const asked = hostAndPort(target);
  let cleanUp = () => {};
  try {
    await untilAborted<void>(signal, (resolve, reject) => {
      let answer = Buffer.alloc(0);
      const read = () => {
        for (let chunk = socket.read(); chunk !== null; chunk = socket.read()) {
          answer = Buffer.concat([answer, chunk as Buffer]);
          const end = answer.indexOf('\r\n\r\n');
          if (end === -1 && answer.length <= LARGEST_ANSWER) continue;
          const head = end === -1 || end > LARGEST_ANSWER ? '' : answer.toString('latin1', 0, end + 2);
          const status = Number(STATUS_LINE.exec(head)?.[1] ?? Number.NaN);
          if (Number.isNaN(status)) return reject(failed('sent no HTTP answer to CONNECT'));
          if (status < 200 || status > 299) {
            return reject(failed(`answered CONNECT ${asked} with ${status}`, { status }));
          }
          // In TLS the client sends first, so these bytes are not the server's.
          if (answer.length > end + 4) return reject(failed(`sent more than an answer to CONNECT ${asked}`));
          return resolve();
        }
      };
      const error = (cause: Error) => reject(failed(`broke the connection (${messageOf(cause)})`, { cause }));
      const close = () => reject(failed(`closed the connection instead of an answer to CONNECT ${asked}`));
      cleanUp = () => {
        socket.off('readable', read).off('error', error).off('end', close).off('close', close);
      };
      socket.on('readable', read).on('error', error).on('end', close).on('close', close);
      const credentials = authorization === undefined ? '' : `Proxy-Authorization: ${authorization}\r\n`;
      socket.write(`CONNECT ${asked} HTTP/1.1\r\nHost: ${asked}\r\nUser-Agent: vakt\r\n${credentials}\r\n`);
    });
  } catch (error) {
    socket.on('error', () => {}).destroy();
    throw error;
  } finally {
    cleanUp();
  }
}

/** RFC 9112, 4. A server that isn't HTTP may send anything. */
const STATUS_LINE = /^HTTP\/1\.[01] ([1-5]\d\d)(?: [^\r\n]*)?\r\n/;
