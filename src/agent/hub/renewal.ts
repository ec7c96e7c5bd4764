import { type Duration, milliseconds } from '../../core/base/duration.ts';

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
