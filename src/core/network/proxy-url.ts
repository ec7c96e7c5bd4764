/** An HTTP proxy that opens tunnels by CONNECT. */
export interface ProxyUrl {
  /** Whether the connection to the proxy itself is secured by TLS. */
  readonly secure: boolean;
  /** A name or an IP address, without brackets. */
  readonly host: string;
  readonly port: number;
  readonly user?: string;
  readonly password?: string;
}

const FORM = 'must be the URL of an HTTP proxy, http://host:port or http://user@host:port';

/**
 * Reads the URL of a proxy, `http://[user[:password]@]host[:port]`.
 *
 * @returns the problem if it is invalid; the message never quotes the URL, which may have a password
 */
export function readProxyUrl(text: string): ProxyUrl | string {
  if (/[\s\0]/.test(text) || !URL.canParse(text)) return FORM;
  const { protocol, hostname, port, username, password, pathname, search, hash } = new URL(text);
  if (/^socks/.test(protocol)) return `${FORM}; SOCKS is not supported`;
  const secure = protocol === 'https:';
  if (!secure && protocol !== 'http:') return FORM;
  if (port === '0') return 'has a port that does not exist: ports are 1 to 65535';
  if (hostname === '' || (pathname !== '/' && pathname !== '') || search !== '' || hash !== '') return FORM;
  const user = decoded(username);
  const secret = decoded(password);
  // RFC 7617, 2: the first colon ends the user's name.
  if (user === undefined || secret === undefined || user.includes(':')) {
    return 'must have a user name without ":" and control characters; escape others than letters and digits, as %40 for @';
  }
  return {
    secure,
    host: hostname.replace(/^\[(.*)\]$/, '$1'),
    port: port === '' ? (secure ? 443 : 80) : Number(port),
    ...(user === '' ? {} : { user }),
    ...(secret === '' ? {} : { password: secret }),
  };
}

/**
 * Returns the problem of a proxy URL that other users may be able to read, or `undefined`.
 *
 * @param passwordFile the setting that names the password's file
 */
export function proxyUrlProblem(text: string, passwordFile = 'hub.proxyPasswordFile'): string | undefined {
  const url = readProxyUrl(text);
  if (typeof url === 'string') return url;
  return url.password === undefined
    ? undefined
    : `must not contain a password: write it to a file that only its owner can read, named by ${passwordFile}`;
}

/** @returns `undefined` if it has a wrong escape or a control character */
function decoded(text: string): string | undefined {
  try {
    const plain = decodeURIComponent(text);
    return /\p{Cc}/u.test(plain) ? undefined : plain;
  } catch {
    return undefined;
  }
}
