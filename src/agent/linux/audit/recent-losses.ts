import { type Duration, milliseconds, minutes, seconds } from '../../../core/base/duration.ts';

/** The time in which losses degrade the collector. */
const PERIOD = minutes(5);
const BUCKET = seconds(10);
const BUCKETS = PERIOD / BUCKET;
/** The share of lost events from which on the collector is degraded, and the least number. */
const TOO_MANY = 0.01;
const FEW = 10;

interface Bucket {
  readonly since: Duration;
  arrived: number;
  lost: number;
}

/** Numbers of audit events that arrived and that were lost within the last five minutes. */
export class RecentLosses {
  #buckets: Bucket[] = [];

  add(now: Duration, { arrived = 0, lost = 0 }: { readonly arrived?: number; readonly lost?: number }): void {
    let bucket = this.#buckets.at(-1);
    if (bucket === undefined || now - bucket.since >= BUCKET) {
      bucket = { since: now, arrived: 0, lost: 0 };
      this.#buckets.push(bucket);
      if (this.#buckets.length > BUCKETS) this.#buckets.shift();
    }
    bucket.arrived += arrived;
    bucket.lost += lost;
  }

  /** How many events were lost within five minutes, if that is more than 1 %. */
  tooMany(now: Duration): { readonly lost: number; readonly share: number } | undefined {
    const from = milliseconds(now - PERIOD);
    this.#buckets = this.#buckets.filter(({ since }) => since > from);
    let [arrived, lost] = [0, 0];
    for (const bucket of this.#buckets) {
      arrived += bucket.arrived;
      lost += bucket.lost;
    }
    const share = lost / Math.max(1, arrived + lost);
    return lost >= FEW && share > TOO_MANY ? { lost, share } : undefined;
  }
}
