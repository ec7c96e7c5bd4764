/**
 * Limits of a hub per second, for all its devices together. Source: "IoT Hub quotas and throttling", operation
 * throttles.
 */
export interface HubLimits {
  readonly name: string;
  readonly connections: number;
  readonly messages: number;
  readonly twinReads: number;
  readonly twinUpdates: number;
  /** Reading and creating modules: operations of the identity registry. */
  readonly registry: number;
}

export const s1 = (units: number): HubLimits => ({
  name: `S1, ${unitsText(units)}`,
  connections: Math.max(100, 12 * units),
  messages: Math.max(100, 12 * units),
  twinReads: 100,
  twinUpdates: 50,
  registry: (100 * units) / 60,
});

export const s2 = (units: number): HubLimits => ({
  name: `S2, ${unitsText(units)}`,
  connections: 120 * units,
  messages: 120 * units,
  twinReads: Math.max(100, 10 * units),
  twinUpdates: Math.max(50, 5 * units),
  registry: (100 * units) / 60,
});

export const s3 = (units: number): HubLimits => ({
  name: `S3, ${unitsText(units)}`,
  connections: 6_000 * units,
  messages: 6_000 * units,
  twinReads: 500 * units,
  twinUpdates: 250 * units,
  registry: (5_000 * units) / 60,
});

/** Limit of one provisioning service, per second. Source: "Azure IoT Hub Device Provisioning Service limits". */
export const REGISTRATIONS = 1_000 / 60;

const unitsText = (units: number) => (units === 1 ? 'one unit' : `${units} units`);

/** Admits requests up to a limit per second. Unused capacity is kept for at most one second. */
export class Throttle {
  readonly #perSecond: number;
  #left: number;
  #at = 0;

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
    this.#left = Math.max(1, perSecond);
  }

  /** @param nowMs never less than before */
  admits(nowMs: number): boolean {
    const most = Math.max(1, this.#perSecond);
    this.#left = Math.min(most, this.#left + ((nowMs - this.#at) * this.#perSecond) / 1_000);
    this.#at = nowMs;
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }
}
