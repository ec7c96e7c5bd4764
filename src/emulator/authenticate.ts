import { type Duration, milliseconds } from '../base/duration.ts';
import { type ModuleId, nameOf } from './identity.ts';
import type { Registry } from './registry.ts';
import { covers, isSignedWith, parseSasToken } from './sas.ts';

/** Return codes of a CONNACK (MQTT 3.1.1, 3.2.2.3). Which cause gets which code is not documented for IoT Hub. */
export const CONNACK = { identifierRejected: 2, serverUnavailable: 3, notAuthorized: 5 } as const;

/** The credentials in a CONNECT packet. */
export interface Credentials {
  readonly clientId: string;
  readonly userName: string | undefined;
  readonly password: string | undefined;
}

export interface Admission {
  readonly admitted: true;
  readonly module: ModuleId;
  readonly expiresAt: Date;
  readonly userAgent?: string;
}

export type Verdict = Admission | { readonly admitted: false; readonly returnCode: number; readonly reason: string };

/** Accepts or refuses a CONNECT as IoT Hub does. Source: "Communicate with an IoT hub using the MQTT protocol". */
export function authenticate(
  { clientId, userName, password }: Credentials,
  hub: {
    readonly hostName: string;
    readonly registry: Registry;
    readonly now: Date;
    /** How long after its expiry a token is still accepted; real hubs allow some minutes. */
    readonly skewTolerance?: Duration;
  },
): Verdict {
  const parsed = parseUserName(userName ?? '');
  if (parsed === undefined) return refused('the user name is not {hub}/{deviceId}/{moduleId}/?api-version=…');
  if (parsed.hostName.toLowerCase() !== hub.hostName.toLowerCase())
    return refused(`the user name is for hub ${parsed.hostName}; this one is ${hub.hostName}`);
  if (clientId !== nameOf(parsed))
    return refused(`the client id is "${clientId}", not "${nameOf(parsed)}"`, CONNACK.identifierRejected);
  if (hub.registry.device(parsed.deviceId) === undefined) return refused(`device ${parsed.deviceId} does not exist`);
  const module = hub.registry.module(parsed);
  if (module === undefined) return refused(`module ${nameOf(parsed)} does not exist`);
  if (!hub.registry.isEnabled({ deviceId: parsed.deviceId })) return refused(`device ${parsed.deviceId} is disabled`);
  if (!hub.registry.isEnabled(module)) return refused(`module ${nameOf(module)} is disabled`);
  const { credential } = module;
  if (credential.type !== 'sas') return refused('the module has no keys; it must present a client certificate');
  if (!password) return refused('the password is missing; certificates are not supported');
  const token = parseSasToken(password);
  if (token === undefined) return refused('the password is not a shared access signature');
  if (token.policy !== undefined) return refused('the token is signed with a policy of the hub, not with a module key');
  if (!covers(token.resource, hub.hostName, ['devices', module.deviceId, 'modules', module.moduleId]))
    return refused(`the token is for ${token.resource}`);
  const keys = [credential.primaryKey, credential.secondaryKey];
  if (!keys.some((key) => isSignedWith(token, key))) return refused('the token is not signed with a key of the module');
  const last = token.expiresAt.getTime() + (hub.skewTolerance ?? milliseconds(0));
  if (hub.now.getTime() >= last) return refused(`the token expired at ${token.expiresAt.toISOString()}`);
  const { deviceId, moduleId, userAgent } = parsed;
  return {
    admitted: true,
    module: { deviceId, moduleId },
    expiresAt: new Date(last),
    ...(userAgent ? { userAgent } : {}),
  };
}

/** `{hub}/{deviceId}/{moduleId}/?api-version=…&DeviceClientType=…`, or the older form without `?`. */
function parseUserName(text: string): (ModuleId & { hostName: string; userAgent: string | undefined }) | undefined {
  const match = /^([^/]+)\/([^/]+)\/([^/]+)\/\??(api-version=.+)$/s.exec(text);
  const [, hostName, deviceId, moduleId, query] = match ?? [];
  if (hostName === undefined || deviceId === undefined || moduleId === undefined) return undefined;
  const userAgent = new URLSearchParams(query).get('DeviceClientType') ?? undefined;
  return { hostName, deviceId, moduleId, userAgent };
}

const refused = (reason: string, returnCode: number = CONNACK.notAuthorized): Verdict => ({
  admitted: false,
  returnCode,
  reason,
});
