import { type Duration, days, milliseconds, minutes } from '../../core/base/duration.ts';
import type { HubStatus } from '../../core/contract/hub.ts';

/** What the latest connection was authenticated by, and when that expires. */
export interface Credential {
  readonly proof: 'token' | 'certificate';
  readonly expiresAt: Date;
  /** As of Presentation. */
  readonly deviceCertificateExpiresAt?: Date | undefined;
}

/**
 * How long before its expiry a credential counts as expiring soon. A certificate is replaced by an operator or by a service
 * that may have failed. A token is renewed by the agent 15 minutes before it expires; later than that, the renewal failed
 * or was delayed, for example because the clock was set or the machine was suspended.
 */
const NOTICE: Readonly<Record<Credential['proof'], Duration>> = { certificate: days(30), token: minutes(10) };

/**
 * The device's certificate, if any, is reported instead of the token once it expires soon: without it there will be no
 * further token, and only the operator renews it.
 *
 * @param isUsed whether the agent is connected; otherwise a token's expiry doesn't matter: each connection has a new one
 */
export function endOf(
  { proof, expiresAt, deviceCertificateExpiresAt }: Credential,
  { isUsed, now }: { isUsed: boolean; now: Date },
): Pick<HubStatus['credential'], 'expiresAt' | 'expiresSoon'> {
  const isNear = (end: Date, kind: Credential['proof']) => end.getTime() - now.getTime() < NOTICE[kind];
  if (deviceCertificateExpiresAt !== undefined && isNear(deviceCertificateExpiresAt, 'certificate')) {
    return { expiresAt: deviceCertificateExpiresAt, expiresSoon: true };
  }
  return { expiresAt, expiresSoon: isNear(expiresAt, proof) && (isUsed || proof === 'certificate') };
}

/** How much earlier than it must be a connection may be replaced, as a part of its age. */
const SPREAD = 0.25;

/**
 * The age at which a connection is replaced because its token expires: at random 0.75 (excluded) to 1 times the latest one.
 * Devices that came back together, as after an outage, would otherwise renew together forever.
 *
 * @param random gives numbers from 0 (included) to 1 (excluded)
 */
export const renewalWithin = (latest: Duration, random: () => number): Duration =>
  milliseconds(Math.round(latest * (1 - SPREAD * random())));
