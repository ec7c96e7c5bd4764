import { type Duration, days, minutes } from '../base/duration.ts';
import type { HubStatus } from '../contract/hub.ts';

/** What the latest connection was authenticated by, and when that expires. */
export interface Credential {
  readonly proof: 'token' | 'certificate';
  readonly expiresAt: Date;
}

/**
 * How long before its expiry a credential counts as expiring soon. A certificate is replaced by an operator or by a service
 * that may have failed. A token is renewed by the agent 15 minutes before it expires; later than that, the renewal failed
 * or was delayed, for example because the clock was set or the machine was suspended.
 */
const NOTICE: Readonly<Record<Credential['proof'], Duration>> = { certificate: days(30), token: minutes(10) };

/** @param isUsed whether the agent is connected; otherwise a token's expiry doesn't matter: each connection has a new one */
export function endOf(
  { proof, expiresAt }: Credential,
  { isUsed, now }: { isUsed: boolean; now: Date },
): Pick<HubStatus['credential'], 'expiresAt' | 'expiresSoon'> {
  const isNear = expiresAt.getTime() - now.getTime() < NOTICE[proof];
  return { expiresAt, expiresSoon: isNear && (isUsed || proof === 'certificate') };
}
