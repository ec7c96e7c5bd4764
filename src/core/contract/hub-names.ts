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

/** As of 2026-12-01; the name of a national cloud ends in another domain, such as `azure-devices.us`. */
const FORM = /^([^.]+)\.(?:(?:device|service)\.)?(azure-devices\.[a-z.]+)$/;

/**
 * The host names of a hub: `NAME.azure-devices.net` for everything, `NAME.device.azure-devices.net` for devices and modules,
 * `NAME.service.azure-devices.net` for service APIs. A hub of another domain, such as an emulator, has one name.
 */
export interface HubNames {
  readonly classic: string;
  readonly device: string;
  readonly service: string;
}

/** @param hostName in any form, without a port @returns names in lower case */
export function hubNamesOf(hostName: string): HubNames {
  const name = hostName.toLowerCase().replace(/\.$/, '');
  const [, hub, domain] = FORM.exec(name) ?? [];
  if (hub === undefined) return { classic: name, device: name, service: name };
  return { classic: `${hub}.${domain}`, device: `${hub}.device.${domain}`, service: `${hub}.service.${domain}` };
}

/** Whether two host names, without ports, are names of one hub. */
export const isSameHub = (one: string, other: string): boolean => hubNamesOf(one).classic === hubNamesOf(other).classic;

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
