import { isIP, isIPv6 } from 'node:net';

/** A host and a port, as a URL names them. */
export interface Address {
  /** A name or an IP address, without brackets. */
  readonly host: string;
  readonly port: number;
}

/**
 * Reads `host` or `host:port`; an IPv6 address is in brackets if a port follows, and may be in brackets else.
 *
 * @throws RangeError if the text is neither; callers check settings with contract/hub-names.ts first
 */
export function addressOf(text: string, defaultPort: number): Address {
  const [, bracketed, bare, port] = /^(?:\[([0-9a-f:.]+)\]|([^[\]:/?#@\s]+))(?::(\d{1,5}))?$/i.exec(text) ?? [];
  const host = bracketed ?? bare ?? (isIPv6(text) ? text : '');
  const number = port === undefined ? defaultPort : Number(port);
  if (host === '' || (bracketed !== undefined && !isIPv6(bracketed)) || number < 1 || number > 65_535) {
    throw new RangeError(`${JSON.stringify(text.slice(0, 300))} is not a host or host:port`);
  }
  return { host, port: number };
}

/** `host:port`, with an IPv6 address in brackets. */
export const hostAndPort = ({ host, port }: Address): string => `${bracketed(host)}:${port}`;

/** The host as in a URL: an IPv6 address in brackets. */
export const bracketed = (host: string): string => (isIPv6(host) ? `[${host}]` : host);

/** The name to ask for by SNI, which knows no addresses (RFC 6066, 3), and to compare with the certificate's. */
export const serverNameOf = (host: string): string | undefined =>
  isIP(host) === 0 ? host.replace(/\.$/, '') : undefined;
