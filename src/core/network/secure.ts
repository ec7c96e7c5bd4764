import { X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { AgentError, messageOf } from '../base/errors.ts';
import { readNamedFile } from '../base/plain-file.ts';
import { serverNameOf } from './address.ts';
import { untilAborted } from './limited.ts';

/** In bytes; Debian's bundle of all authorities has 220 KB. */
const MAX_FILE_BYTES = 1024 * 1024;

/**
 * Reads the certificate authorities to trust instead of Node's own list. The SDK can't be left to read the file: if it is
 * unreadable, the SDK uses its name as the certificate, without an error.
 *
 * @param setting that names the file, for the message
 * @returns PEM
 * @throws AgentError CA_FILE_UNUSABLE
 */
export function readTrustedCa(path: string, setting: string): string {
  try {
    const pem = readNamedFile(path, MAX_FILE_BYTES);
    const certificates = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
    if (certificates.length === 0) throw new Error('it contains no PEM certificate');
    for (const certificate of certificates) new X509Certificate(certificate); // throws if it is malformed
    return certificates.join('\n');
  } catch (error) {
    const remedy = `Write the authority's certificate in PEM form to ${path}, and make the file readable by this program.`;
    throw new AgentError('CA_FILE_UNUSABLE', `${setting} ${path} can't be used: ${messageOf(error)}`, remedy);
  }
}

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
