import type { X509Certificate } from 'node:crypto';
import type { Duration } from '../core/base/duration.ts';
import { hubNamesOf } from '../core/contract/hub-names.ts';
import { thumbprintOf, whyRefused } from './client-certificates.ts';
import type { Registry } from './registry.ts';
import { RestError } from './rest-errors.ts';
import { covers, isSignedWith, parseSasToken, type SasToken } from './sas.ts';

/** Source: "Control access to IoT Hub by using shared access signatures", permissions. */
export type Right = 'RegistryRead' | 'RegistryWrite' | 'ServiceConnect' | 'DeviceConnect';

/** A shared access policy of the hub. */
export interface Policy {
  readonly name: string;
  /** base64 */
  readonly primaryKey: string;
  readonly rights: readonly Right[];
}

/** The policies of a new hub. Source: the same page. @param keyOf creates the key of a policy, base64 */
export const standardPolicies = (keyOf: (policy: string) => string): readonly Policy[] =>
  Object.entries({
    iothubowner: ['RegistryRead', 'RegistryWrite', 'ServiceConnect', 'DeviceConnect'],
    service: ['ServiceConnect'],
    device: ['DeviceConnect'],
    registryRead: ['RegistryRead'],
    registryReadWrite: ['RegistryRead', 'RegistryWrite'],
  } as const).map(([name, rights]) => ({ name, primaryKey: keyOf(name), rights }));

/** The sender of a request. */
export type Caller = { readonly deviceId: string; readonly thumbprint?: string } | { readonly policy: string };

/** The state of the hub that decides about a request. */
export interface AuthorizationState {
  readonly hostName: string;
  readonly registry: Registry;
  readonly policies: readonly Policy[];
  /** Accepted Microsoft Entra tokens; they have every permission. */
  readonly bearerTokens: readonly string[];
  readonly now: Date;
  readonly skewTolerance: Duration;
}

/** The parts of a request that matter for authorization. */
export interface Claim {
  readonly authorization: string | undefined;
  readonly certificates: readonly X509Certificate[];
  /** The decoded segments of the path. */
  readonly path: readonly string[];
  /** The device in the path, if it may make this request by its own credential. */
  readonly deviceId: string | undefined;
  readonly right: Right;
}

/**
 * Authorizes a request: by a token of a policy, or by a device's own token or client certificate, which open that device's
 * modules only. Source: "Control access to IoT Hub by using shared access signatures".
 *
 * @throws RestError 401002, 401003, 403012 or 404001
 */
export function authorize(claim: Claim, hub: AuthorizationState): Caller {
  const { authorization, certificates, deviceId } = claim;
  // A hub asks Microsoft Entra for the permissions of the token's owner; here a list of tokens has all.
  if (hub.bearerTokens.some((each) => authorization === `Bearer ${each}`)) return { policy: 'entra' };
  const token = parseSasToken(authorization ?? '');
  if (authorization !== undefined && token === undefined)
    throw new RestError(401003, 'The Authorization header is not a shared access signature, or a known token.');
  if (token?.policy !== undefined) return authorizePolicy(token, token.policy, claim, hub);
  if (token === undefined && certificates.length === 0)
    throw new RestError(401003, 'The request has neither a token nor a client certificate.');
  if (deviceId === undefined) throw new RestError(401002, 'The request needs a token of a policy of the hub.');
  const device = hub.registry.device(deviceId);
  if (device === undefined) throw new RestError(404001, deviceId);
  if (token === undefined) {
    const { registry, now } = hub;
    const reason = whyRefused(certificates, { deviceId }, device.credential, {
      authorities: registry.authorities,
      now,
    });
    if (reason !== undefined) throw new RestError(401003, reason);
  } else {
    if (device.credential.type !== 'sas') throw new RestError(401003, `${deviceId} has no keys.`);
    checkToken(token, [device.credential.primaryKey, device.credential.secondaryKey], claim, hub);
  }
  if (device.status === 'disabled') throw new RestError(403012, `${deviceId} is disabled.`);
  const [own] = certificates;
  return { deviceId, ...(token === undefined && own !== undefined ? { thumbprint: thumbprintOf(own) } : {}) };
}

function authorizePolicy(token: SasToken, name: string, claim: Claim, hub: AuthorizationState): Caller {
  const policy = hub.policies.find((known) => known.name === name);
  if (policy === undefined) throw new RestError(401003, `The hub has no policy "${name}".`);
  checkToken(token, [policy.primaryKey], claim, hub);
  if (!policy.rights.includes(claim.right))
    throw new RestError(401002, `The policy "${name}" does not have the permission ${claim.right}.`);
  if (claim.deviceId !== undefined && hub.registry.device(claim.deviceId) === undefined)
    throw new RestError(404001, claim.deviceId);
  return { policy: name };
}

function checkToken(token: SasToken, keys: readonly string[], { path }: Claim, hub: AuthorizationState): void {
  if (!Object.values(hubNamesOf(hub.hostName)).some((name) => covers(token.resource, name, path)))
    throw new RestError(401002, `The token is for ${token.resource}.`);
  if (!keys.some((key) => isSignedWith(token, key)))
    throw new RestError(401003, 'The token is not signed with a key of the device or policy.');
  if (hub.now.getTime() >= token.expiresAt.getTime() + hub.skewTolerance)
    throw new RestError(401003, `The token expired at ${token.expiresAt.toISOString()}.`);
}
