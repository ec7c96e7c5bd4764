import type { Clock } from '../../core/base/clock.ts';
import { hours, milliseconds } from '../../core/base/duration.ts';
import type { Logger } from '../../core/base/log.ts';
import { Loop } from '../../core/base/loop.ts';
import type { Service } from '../../core/base/service.ts';
import { TokenBucket } from '../../core/base/token-bucket.ts';
import { Alarm } from '../../core/base/waiting.ts';
import type { Snapshot, SnapshotConsumer } from '../../core/contract/consumers.ts';
import { reasonOf } from './facts.ts';
import {
  ASSESSED_EVENTS,
  type AssessedEvent,
  type AssessedFact,
  isAssessed,
  type SnapshotPosture,
} from './snapshot-posture.ts';

/**
 * Limit for updates between the rounds, of each event: the hub charges for each report of the posture, its recommendations are
 * saved to flash, and every user can open and close ports. Other events are unaffected, so that ports cannot hide an account.
 */
const BETWEEN_ROUNDS = { max: 3, perSecond: 1 / 1_800 };

/** The loop wakes up this often at least. */
const IDLE = hours(24);

/**
 * Updates the posture by the snapshots of the rounds at once, and by listings between the rounds within the limit. The last
 * listing is applied when the limit permits, unless a round came first.
 */
export class PostureUpdates implements SnapshotConsumer, Service {
  readonly name = 'posture updates';
  /** Receives listings between the rounds. */
  readonly betweenRounds: SnapshotConsumer = {
    wants: (event) => this.wants(event),
    accept: (snapshot) => {
      if (isAssessed(snapshot.event)) this.#offer(snapshot.event, this.#posture.assess(snapshot.event, snapshot));
    },
    failed: (event, problem) => {
      if (isAssessed(event)) this.#offer(event, { unknown: reasonOf(problem) });
    },
  };
  readonly #posture: SnapshotPosture;
  readonly #clock: Clock;
  readonly #changed: () => void;
  readonly #limits: ReadonlyMap<string, TokenBucket>;
  /** Facts that exceed the limit for now. */
  readonly #waiting = new Map<AssessedEvent, AssessedFact>();
  readonly #alarm = new Alarm();
  readonly #loop: Loop;

  constructor(options: {
    posture: SnapshotPosture;
    clock: Clock;
    log: Logger;
    /** Called after each update between the rounds. */
    changed: () => void;
  }) {
    const { clock } = options;
    this.#posture = options.posture;
    this.#clock = clock;
    this.#changed = options.changed;
    this.#limits = new Map(
      Object.keys(ASSESSED_EVENTS).map((event) => [event, new TokenBucket({ ...BETWEEN_ROUNDS, clock })]),
    );
    this.#loop = new Loop((signal) => this.#turn(signal), options);
  }

  async start(): Promise<void> {
    this.#loop.start();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
  }

  wants(event: string): boolean {
    return this.#posture.wants(event);
  }

  accept(snapshot: Snapshot): void {
    if (isAssessed(snapshot.event)) this.#waiting.delete(snapshot.event);
    this.#posture.accept(snapshot);
  }

  failed(event: string, problem: string): void {
    if (isAssessed(event)) this.#waiting.delete(event);
    this.#posture.failed(event, problem);
  }

  #offer(event: AssessedEvent, fact: AssessedFact): void {
    this.#waiting.delete(event);
    if (this.#posture.isCurrent(event, fact)) return;
    this.#waiting.set(event, fact);
    this.#apply();
    if (this.#waiting.size > 0) this.#alarm.ring();
  }

  #apply(): void {
    let isChanged = false;
    for (const [event, fact] of this.#waiting) {
      if (this.#limits.get(event)?.take() !== true) continue;
      this.#waiting.delete(event);
      this.#posture.set(event, fact);
      isChanged = true;
    }
    if (isChanged) this.#changed();
  }

  async #turn(signal: AbortSignal): Promise<void> {
    const waits = [...this.#waiting.keys()].map((event) => this.#limits.get(event)?.wait() ?? IDLE);
    await this.#alarm.sleep(this.#clock, milliseconds(Math.ceil(Math.min(IDLE, ...waits))), signal);
    if (!signal.aborted) this.#apply();
  }
}
