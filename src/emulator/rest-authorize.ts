import type { X509Certificate } from 'node:crypto';
import type { Duration } from '../base/duration.ts';
import { thumbprintOf, whyRefused } from './client-certificates.ts';
import type { Registry } from './registry.ts';
import { RestError } from './rest-errors.ts';
import { covers, isSignedWith, parseSasToken, type SasToken } from './sas.ts';

export type Right = 'RegistryRead' | 'RegistryWrite';

/** A shared access policy of the hub. */
export interface Policy {
  readonly name: string;
  /** base64 */
  readonly primaryKey: string;
  readonly rights: readonly Right[];
}

/** Who sent a request. */
export type Caller = { readonly deviceId: string; readonly thumbprint?: string } | { readonly policy: string };

/** What a request is judged by. */
export interface RestJudge {
  readonly hostName: string;
  readonly registry: Registry;
  readonly policies: readonly Policy[];
  readonly now: Date;
  readonly skewTolerance: Duration;
}

/** A request for the modules of a device. */
export interface Claim {
  readonly authorization: string | undefined;
  readonly certificates: readonly X509Certificate[];
  /** The decoded segments of the path. */
  readonly path: readonly string[];
  readonly deviceId: string;
  readonly right: Right;
}

/**
 * Authorizes a request: by a device's own token or client certificate, which open that device's modules, or by a token of
 * a policy. Source: "Control access to IoT Hub by using shared access signatures".
 *
 * @throws RestError 401002, 401003, 403012 or 404001
 */
export function authorize(claim: Claim, judge: RestJudge): Caller {
  const { authorization, certificates, deviceId } = claim;
  const token = parseSasToken(authorization ?? '');
  if (authorization !== undefined && token === undefined)
    throw new RestError(401003, 'The Authorization header is not a shared access signature.');
  if (token?.policy !== undefined) return authorizePolicy(token, token.policy, claim, judge);
  const device = judge.registry.device(deviceId);
  if (token === undefined && certificates.length === 0)
    throw new RestError(401003, 'The request has neither a token nor a client certificate.');
  if (device === undefined) throw new RestError(404001, deviceId);
  if (token === undefined) {
    const { registry, now } = judge;
    const reason = whyRefused(certificates, { deviceId }, device.credential, {
      authorities: registry.authorities,
      now,
    });
    if (reason !== undefined) throw new RestError(401003, reason);
  } else {
    if (device.credential.type !== 'sas') throw new RestError(401003, `${deviceId} has no keys.`);
    checkToken(token, [device.credential.primaryKey, device.credential.secondaryKey], claim, judge);
  }
  if (device.status === 'disabled') throw new RestError(403012, `${deviceId} is disabled.`);
  const [own] = certificates;
  return { deviceId, ...(token === undefined && own !== undefined ? { thumbprint: thumbprintOf(own) } : {}) };
}

function authorizePolicy(token: SasToken, name: string, claim: Claim, judge: RestJudge): Caller {
  const policy = judge.policies.find((known) => known.name === name);
  if (policy === undefined) throw new RestError(401003, `The hub has no policy "${name}".`);
  checkToken(token, [policy.primaryKey], claim, judge);
  if (!policy.rights.includes(claim.right))
    throw new RestError(401002, `The policy "${name}" does not have the right ${claim.right}.`);
  if (judge.registry.device(claim.deviceId) === undefined) throw new RestError(404001, claim.deviceId);
  return { policy: name };
}

function checkToken(token: SasToken, keys: readonly string[], { path }: Claim, judge: RestJudge): void {
  if (!covers(token.resource, judge.hostName, path)) throw new RestError(401002, `The token is for ${token.resource}.`);
  if (!keys.some((key) => isSignedWith(token, key)))
    throw new RestError(401003, 'The token is not signed with a key of the device or policy.');
  if (judge.now.getTime() >= token.expiresAt.getTime() + judge.skewTolerance)
    throw new RestError(401003, `The token expired at ${token.expiresAt.toISOString()}.`);
}
