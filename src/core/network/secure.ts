import type { Socket } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { serverNameOf } from './address.ts';
import { untilAborted } from './limited.ts';

export interface Security {
  /** What the server's certificate must be for. */
  readonly host: string;
  /** Trusted authorities as PEM. Default: those that Node trusts. */
  readonly trustedCa?: string | undefined;
  /** The client's certificate with its chain, and key, PEM. */
  readonly certificate?: string | undefined;
  readonly key?: string | undefined;
  /** Whether to accept untrusted certificates; check the socket's `authorized`. */
  readonly acceptsAny?: boolean;
}

/**
 * Secures a connection by TLS 1.2 or newer, and verifies the server's certificate and name, unless `acceptsAny`. Destroys it
 * when that fails, or when `signal` aborts.
 *
 * @param socket is the secured socket's afterwards
 */
export async function secure(
  socket: Socket,
  { host, trustedCa, certificate, key, acceptsAny = false }: Security,
  signal: AbortSignal,
): Promise<TLSSocket> {
  let secured: TLSSocket | undefined;
  try {
    return await untilAborted<TLSSocket>(signal, (resolve, reject) => {
      const servername = serverNameOf(host);
      const tls = connect({
        socket,
        host, // compared with the certificate if it is an IP address
        minVersion: 'TLSv1.2',
        rejectUnauthorized: !acceptsAny, // NODE_TLS_REJECT_UNAUTHORIZED must not change it
        ...(servername === undefined ? {} : { servername }),
        ...(trustedCa === undefined ? {} : { ca: trustedCa }),
        ...(certificate === undefined ? {} : { cert: certificate }),
        ...(key === undefined ? {} : { key }),
      });
      secured = tls;
      tls.once('error', reject); // even if the connection is closed
      tls.once('secureConnect', () => {
        tls.off('error', reject);
        resolve(tls);
      });
    });
  } catch (error) {
    secured?.on('error', () => {}).destroy();
    socket.on('error', () => {}).destroy();
    throw error;
  }
}
