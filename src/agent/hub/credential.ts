import { type Duration, milliseconds, minutes } from '../../core/base/duration.ts';
import type { HubStatus } from '../../core/contract/hub.ts';
import type { CertificateEnd, Proof } from '../identity/identity.ts';

/** What the latest connection was authenticated by, and when that expires. */
export interface Credential {
  readonly proof: Proof['kind'];
  readonly end: CertificateEnd;
  /** As of Presentation. */
  readonly deviceCertificate?: CertificateEnd | undefined;
}

/**
 * How long before its expiry a token counts as expiring soon. The agent renews it 15 minutes before it expires; later than
 * that, the renewal failed or was delayed, for example because the clock was set or the machine was suspended.
 */
const NOTICE_OF_TOKEN = minutes(10);

/** @param proof of the latest connection */
export function credentialOf(proof: Proof, deviceCertificate: CertificateEnd | undefined): Credential {
  const { kind, expiresAt } = proof;
  const dueAt = kind === 'certificate' ? proof.dueAt : new Date(expiresAt.getTime() - NOTICE_OF_TOKEN);
  return { proof: kind, end: { expiresAt, dueAt }, deviceCertificate };
}

/**
 * The device's certificate, if any, is reported instead of the token once it expires soon: without it there will be no
 * further token, and only the operator renews it.
 *
 * @param isUsed whether the agent is connected; otherwise a token's expiry doesn't matter: each connection has a new one
 */
export function endOf(
  { proof, end, deviceCertificate }: Credential,
  { isUsed, now }: { isUsed: boolean; now: Date },
): Pick<HubStatus['credential'], 'expiresAt' | 'expiresSoon'> {
  if (deviceCertificate !== undefined && now > deviceCertificate.dueAt) {
    return { expiresAt: deviceCertificate.expiresAt, expiresSoon: true };
  }
  return { expiresAt: end.expiresAt, expiresSoon: now > end.dueAt && (isUsed || proof === 'certificate') };
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
