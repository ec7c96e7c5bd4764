/** A message that is sent sooner has next to nothing to say. */
const MIN_PART = 0.25;

/**
 * The part of its usual length that a period takes after a start, or after an outage: 0.25 (included) to 1 (excluded), at
 * random. Devices that start together, as after a power cut, or that come back together, as after an outage of their hub, would
 * otherwise send and report together in each period.
 *
 * @param random gives numbers from 0 (included) to 1 (excluded)
 */
export function randomPart(random: () => number = Math.random): number {
  return MIN_PART + random() * (1 - MIN_PART);
}
