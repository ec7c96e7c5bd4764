import { type Duration, days, minutes } from '../base/duration.ts';
import type { HubStatus } from '../contract/hub.ts';

/** What the last connection was let in by, and until when that is good. */
export interface Credential {
  readonly proof: 'token' | 'certificate';
  readonly expiresAt: Date;
}

/**
 * How long before its end somebody should know. A certificate is replaced by people, or by a service that may have
 * failed to. A token is made by the agent itself, a quarter of an hour before the last one ends: one that comes nearer to
 * its end was not renewed in time, since the clock was set or the machine slept.
 */
const NOTICE: Readonly<Record<Credential['proof'], Duration>> = { certificate: days(30), token: minutes(10) };

/** @param isUsed there is a connection now; without one a token is nothing to worry about, since the next makes its own */
export function endOf(
  { proof, expiresAt }: Credential,
  { isUsed, now }: { isUsed: boolean; now: Date },
): Pick<HubStatus['credential'], 'expiresAt' | 'expiresSoon'> {
  const isNear = expiresAt.getTime() - now.getTime() < NOTICE[proof];
  return { expiresAt, expiresSoon: isNear && (isUsed || proof === 'certificate') };
}
