import type { IncomingHttpHeaders } from 'node:http';
import { hasToken } from '../access-token.ts';

/* Access control of the page. Every user of this machine can reach a loopback port. So can any web page in a browser on it,
 * even through a host name that resolves to 127.0.0.1 (DNS rebinding). */

/** A rejected request, with its HTTP status. */
export class RequestError extends Error {
  override readonly name = 'RequestError';
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** The server's own names; requests for others are rejected. */
const hostsOf = (port: number) => [`127.0.0.1:${port}`, `localhost:${port}`];

/** Rejects a request from another site or for another host name. @throws RequestError 403 */
export function checkSite(headers: IncomingHttpHeaders, port: number): void {
  const hosts = hostsOf(port);
  const { host = '', origin } = headers;
  if (!hosts.includes(host)) throw new RequestError(403, `The Host header must be ${hosts.join(' or ')}.`);
  if (origin !== undefined && !hosts.some((own) => origin === `http://${own}`))
    throw new RequestError(403, 'Requests from other sites are refused.');
}

/** @throws RequestError 401 unless the request has the token */
export function checkToken({ authorization }: IncomingHttpHeaders, token: string): void {
  if (!hasToken(authorization, token))
    throw new RequestError(401, 'Open the address with its token, as it was printed: the part after "#".');
}

/**
 * Sent with every answer. Scripts and styles come from the page's own files only, no string can become HTML (Trusted Types),
 * and nothing is loaded from or sent to another origin.
 */
export const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; '),
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
};
