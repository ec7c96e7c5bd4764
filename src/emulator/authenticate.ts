import type { X509Certificate } from 'node:crypto';
import { type Duration, milliseconds } from '../core/base/duration.ts';
import { hubNamesOf } from '../core/contract/hub-names.ts';
import { thumbprintOf, whyRefused } from './client-certificates.ts';
import { type Credential, type ModuleId, nameOf } from './identity.ts';
import type { Registry } from './registry.ts';
import { covers, isSignedWith, parseSasToken } from './sas.ts';

/** Return codes of a CONNACK (MQTT 3.1.1, 3.2.2.3). Which cause gets which code is not documented for IoT Hub. */
export const CONNACK = { identifierRejected: 2, serverUnavailable: 3, notAuthorized: 5 } as const;

/** The credentials in a CONNECT packet, and in the TLS handshake before it. */
export interface Credentials {
  readonly clientId: string;
  readonly userName: string | undefined;
  readonly password: string | undefined;
  /** The TLS client's certificate, then its chain. */
  readonly certificates: readonly X509Certificate[];
}

export interface Admission {
  readonly admitted: true;
  readonly module: ModuleId;
  /** Expiry of the token, which closes the connection; `undefined` for a certificate. */
  readonly expiresAt?: Date;
  /** SHA-256 of the client certificate, if the module was admitted with one. */
  readonly thumbprint?: string;
  readonly userAgent?: string;
}

export type Verdict = Admission | { readonly admitted: false; readonly returnCode: number; readonly reason: string };

/** The state of the hub that decides about a CONNECT. */
export interface AdmissionState {
  readonly hostName: string;
  readonly registry: Registry;
  readonly now: Date;
  /** How long after its expiry a token is still accepted; real hubs allow some minutes. */
  readonly skewTolerance?: Duration;
}

/** Accepts or refuses a CONNECT as IoT Hub does. Source: "Communicate with an IoT hub using the MQTT protocol". */
export function authenticate(credentials: Credentials, hub: AdmissionState): Verdict {
  const { clientId, userName, password, certificates } = credentials;
  const parsed = parseUserName(userName ?? '');
  if (parsed === undefined) return refused('the user name is not {hub}/{deviceId}/{moduleId}/?api-version=…');
  const { deviceId, moduleId, userAgent } = parsed;
  const id = { deviceId, moduleId };
  const { classic, device } = hubNamesOf(hub.hostName);
  if (![classic, device].includes(parsed.hostName.toLowerCase()))
    return refused(`the user name is for hub ${parsed.hostName}; this one is ${hub.hostName}`);
  if (clientId !== nameOf(id))
    return refused(`the client id is "${clientId}", not "${nameOf(id)}"`, CONNACK.identifierRejected);
  const { registry, now } = hub;
  if (registry.device(deviceId) === undefined) return refused(`device ${deviceId} does not exist`);
  const module = registry.module(id);
  if (module === undefined) return refused(`module ${nameOf(id)} does not exist`);
  if (!registry.isEnabled({ deviceId })) return refused(`device ${deviceId} is disabled`);
  if (!registry.isEnabled(id)) return refused(`module ${nameOf(id)} is disabled`);
  const admitted = { admitted: true, module: id, ...(userAgent ? { userAgent } : {}) } as const;
  const [own] = certificates;
  if (!password && own !== undefined) {
    const reason = whyRefused(certificates, id, module.credential, { authorities: registry.authorities, now });
    return reason === undefined ? { ...admitted, thumbprint: thumbprintOf(own) } : refused(reason);
  }
  if (!password) return refused('the password is missing, and the client presented no certificate');
  const verified = verifyToken(password, id, module.credential, { ...hub, hostName: parsed.hostName });
  return typeof verified === 'string' ? refused(verified) : { ...admitted, expiresAt: verified };
}

/** @returns the token's expiry, or the reason for a refusal */
function verifyToken(
  text: string,
  { deviceId, moduleId }: ModuleId,
  credential: Credential,
  hub: AdmissionState,
): Date | string {
  if (credential.type !== 'sas') return 'the module has no keys; it must present a certificate, and no password';
  const token = parseSasToken(text);
  if (token === undefined) return 'the password is not a shared access signature';
  if (token.policy !== undefined) return 'the token is signed with a policy of the hub, not with a module key';
  if (!covers(token.resource, hub.hostName, ['devices', deviceId, 'modules', moduleId]))
    return `the token is for ${token.resource}`;
  const keys = [credential.primaryKey, credential.secondaryKey];
  if (!keys.some((key) => isSignedWith(token, key))) return 'the token is not signed with a key of the module';
  const last = token.expiresAt.getTime() + (hub.skewTolerance ?? milliseconds(0));
  if (hub.now.getTime() >= last) return `the token expired at ${token.expiresAt.toISOString()}`;
  return new Date(last);
}

/**
 * `{hub}/{deviceId}/{moduleId}/?api-version=…&DeviceClientType=…`, or the older form without `?`. A hub does not require the
 * parameters or their order.
 */
function parseUserName(text: string): (ModuleId & { hostName: string; userAgent: string | undefined }) | undefined {
  const match = /^([^/]+)\/([^/]+)\/(?!\??(?:api-version|DeviceClientType)=)([^/]+)(?:\/\??(.*))?$/s.exec(text);
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
