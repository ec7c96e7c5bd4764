import type { Clock } from '../../core/base/clock.ts';
import { type Duration, hours, LONG_AGO, minutes } from '../../core/base/duration.ts';
import type { Subject } from './question.ts';

/** Subjects, and owners, that are remembered; beyond that the oldest are forgotten. */
const MAX_REMEMBERED = 1_024;
/** An owner with this many hangs within OWNER_WINDOW is not asked about for OWNER_REST. */
const HANGS_OF_OWNER = 3;
const OWNER_WINDOW = minutes(10);
const OWNER_REST = hours(1);
/** After this many kills within KILL_WINDOW, nothing is asked for a rest, which doubles each time. */
const MAX_KILLS = 10;
const KILL_WINDOW = minutes(1);
const SHORTEST_REST = minutes(1);
const LONGEST_REST = minutes(16);
/** After this time without a kill, the next rest is short again. */
const RESET_AFTER = minutes(30);

interface Owner {
  hangs: Duration[];
  skippedUntil: Duration;
}

/**
 * Remembers which subjects the child hung on, so that they are not asked about again: an attacker must not be able to
 * make the agent kill and start children without end.
 */
export class Avoidance {
  readonly #clock: Clock;
  readonly #subjects = new Set<string>();
  readonly #owners = new Map<string, Owner>();
  #kills: Duration[] = [];
  #restUntil: number = LONG_AGO;
  #rest: number = SHORTEST_REST;
  #lastKill = LONG_AGO;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  avoids({ id, owner }: Subject): boolean {
    if (this.#subjects.has(id)) return true;
    const known = owner === undefined ? undefined : this.#owners.get(owner);
    return known !== undefined && this.#clock.monotonic() < known.skippedUntil;
  }

  /** How long no questions may be asked, in milliseconds; 0 or less if they may. */
  restMs(): number {
    return this.#restUntil - this.#clock.monotonic();
  }

  /** Records that a child was killed. @returns whether a rest begins now */
  killed(): boolean {
    const now = this.#clock.monotonic();
    if (now - this.#lastKill > RESET_AFTER) this.#rest = SHORTEST_REST;
    this.#lastKill = now;
    this.#kills = [...this.#kills.filter((at) => now - at < KILL_WINDOW), now];
    if (this.#kills.length < MAX_KILLS) return false;
    this.#kills = [];
    this.#restUntil = now + this.#rest;
    this.#rest = Math.min(LONGEST_REST, this.#rest * 2);
    return true;
  }

  /** Records that a question hung. @returns whether its owner is muted now */
  hung({ id, owner }: Subject): boolean {
    this.#subjects.add(id);
    forgetOldest(this.#subjects);
    if (owner === undefined) return false;
    const now = this.#clock.monotonic();
    const known = this.#owners.get(owner) ?? { hangs: [], skippedUntil: now };
    known.hangs = [...known.hangs.filter((at) => now - at < OWNER_WINDOW), now];
    const skipsOwner = known.hangs.length >= HANGS_OF_OWNER;
    if (skipsOwner) {
      known.hangs = [];
      known.skippedUntil = (now + OWNER_REST) as Duration;
    }
    this.#owners.delete(owner);
    this.#owners.set(owner, known);
    forgetOldest(this.#owners);
    return skipsOwner;
  }
}

function forgetOldest(all: Set<string> | Map<string, unknown>): void {
  for (const oldest of all.keys()) {
    if (all.size <= MAX_REMEMBERED) return;
    all.delete(oldest);
  }
}
