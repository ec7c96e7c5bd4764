import { isIPv6 } from 'node:net';

const SCHEME = /^[a-z][a-z0-9+.-]*:\/\//i;
/** A name or an IPv4 address, or an IPv6 address in brackets; a port may follow. */
const HOST = /^(?:[a-z0-9](?:[a-z0-9._-]*[a-z0-9_])?\.?|\[([0-9a-f:.]+)\])(?::(\d{1,5}))?$/i;
const LARGEST_PORT = 65_535;

/**
 * Checks a string that should name a host, as `host` or `host:port`. The usual mistake is a URL. `addressOf` of
 * network/address.ts accepts every string that passes.
 *
 * @returns the problem, or `undefined`
 */
export function hostNameProblem(text: string): string | undefined {
  const problem = problemOf(text);
  if (problem === undefined || problem === PORT_PROBLEM) return problem;
  const bare = text
    .trim()
    .replace(SCHEME, '')
    .replace(/[/?#].*$/s, '');
  const meant = bare !== text && problemOf(bare) === undefined ? `: write "${bare}"` : '';
  return `${problem}${meant}`;
}

const NAME_PROBLEM = 'must be a host name such as "myhub.azure-devices.net", without "https://", "/" and blanks';
const PORT_PROBLEM = `has a port that does not exist: ports are 1 to ${LARGEST_PORT}`;

function problemOf(text: string): string | undefined {
  const match = HOST.exec(text);
  if (match === null) return NAME_PROBLEM;
  const [, address, port = '1'] = match;
  if (address !== undefined && !isIPv6(address)) return NAME_PROBLEM;
  return Number(port) >= 1 && Number(port) <= LARGEST_PORT ? undefined : PORT_PROBLEM;
}

/**
 * A hub's rule for the ids of devices and modules. They become part of user names, topics, tokens and paths; `+` and `#`,
 * the wildcards of MQTT, would make every topic invalid.
 *
 * Source: "Understand the identity registry in your IoT hub", device identity properties.
 */
export const HUB_ID = /^[A-Za-z0-9.%_*?!(),:=@$'-]{1,128}$/;

/** Completes an error message about a string that is not such an id. */
export const HUB_ID_PROBLEM = "must have 1 to 128 letters, digits and - . % _ * ? ! ( ) , : = @ $ '";

export const isHubId = (text: string): boolean => HUB_ID.test(text);
