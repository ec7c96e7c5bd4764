const SCHEME = /^[a-z][a-z0-9+.-]*:\/\//i;
/** A name or an IPv4 address, or an IPv6 address in brackets; a port may follow. */
const HOST = /^(?:[a-z0-9](?:[a-z0-9._-]*[a-z0-9_])?\.?|\[[0-9a-f:.]+\])(?::\d{1,5})?$/i;

/**
 * Checks text that should name a host, as `host` or `host:port`. The usual mistake is a URL.
 *
 * @returns what is wrong with it, or `undefined`
 */
export function hostNameProblem(text: string): string | undefined {
  if (HOST.test(text)) return undefined;
  const bare = text
    .trim()
    .replace(SCHEME, '')
    .replace(/[/?#].*$/s, '');
  const meant = bare !== text && HOST.test(bare) ? `: write "${bare}"` : '';
  return `must be a host name such as "myhub.azure-devices.net", without "https://", "/" and blanks${meant}`;
}
