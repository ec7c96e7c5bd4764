import { ownerOf } from '../../core/contract/owner.ts';
import type { Subject } from './subject.ts';

/** Maximum total length of waiting events, in characters. */
const MAX_WAITING_CHARACTERS = 8 * 1_024 * 1_024;
/** Minimum length counted for an event: at most 8,192 may wait. */
const MIN_EVENT_CHARACTERS = 1_024;
/** Taken events are removed from the list in batches of this size. */
const MAX_TAKEN = 1_024;

interface Entry<T> {
  readonly event: T;
  readonly user: string;
  readonly size: number;
}

/**
 * Events that wait for evaluation, in order of arrival. Bounded in characters: arguments can have 128 KiB each.
 *
 * The events of one user may take as much space as is free, so at most half of the list: a user who starts programs faster than
 * they are evaluated must not prevent the evaluation of other users' events.
 */
export class WaitingList<T extends { readonly subject: Subject }> {
  #entries: (Entry<T> | undefined)[] = [];
  #taken = 0;
  #size = 0;
  /** Keyed by user. */
  readonly #sizes = new Map<string, number>();

  get isEmpty(): boolean {
    return this.#taken === this.#entries.length;
  }

  /** @returns whether there was space for it */
  add(event: T): boolean {
    const { fields } = event.subject;
    const user = ownerOf((field) => fields[field]) ?? '';
    const size = sizeOf(event.subject);
    const ofUser = this.#sizes.get(user) ?? 0;
    if (ofUser + size > MAX_WAITING_CHARACTERS - this.#size) return false;
    this.#entries.push({ event, user, size });
    this.#count(user, size);
    return true;
  }

  /** The next event; `undefined` if none waits. */
  take(): T | undefined {
    const entry = this.#entries[this.#taken];
    if (entry === undefined) return undefined;
    this.#entries[this.#taken] = undefined; // not kept until the list is compacted
    this.#taken += 1;
    this.#count(entry.user, -entry.size);
    if (this.#taken >= MAX_TAKEN || this.isEmpty) {
      this.#entries = this.#entries.slice(this.#taken);
      this.#taken = 0;
    }
    return entry.event;
  }

  #count(user: string, size: number): void {
    this.#size += size;
    const ofUser = (this.#sizes.get(user) ?? 0) + size;
    if (ofUser === 0) this.#sizes.delete(user);
    else this.#sizes.set(user, ofUser);
  }
}

function sizeOf({ fields }: Subject): number {
  let size = 0;
  for (const name in fields) size += fields[name]?.length ?? 0;
  return Math.max(size, MIN_EVENT_CHARACTERS);
}
