import { QUEUES, type QueueName } from '../contract/event.ts';
import type { Pack, Selection } from './pack.ts';

/** How often in a row a message may cost the connection before its events are suspected of it. */
const STRIKES = 3;
/**
 * How often an event is sent alone, each time after others have passed, before it is given up. On a network that loses
 * every second message one in a million would come to that by chance, and on no other network more.
 */
const TRIALS = 10;
/** Events that may be passed over at a time; with more, it isn't the events. */
const MOST_PASSED_OVER = 4;

/** An event that is passed over. */
interface Defendant {
  readonly bytes: number;
  /** How often in a row it has failed when others had just passed. */
  failures: number;
  /** Others have passed since it was last sent. */
  othersPassed: boolean;
}

/**
 * Finds the event that a hub hangs up on, or never acknowledges, so that it doesn't block its queue for ever; and never
 * takes an outage for one.
 *
 * A message that failed three times in a row is sent in halves, until one event is left. It loses nothing by that, nor
 * by what comes next: it is passed over, so that what waits behind it goes out. After every message that was accepted it
 * gets another trial. Only when it has failed ten trials running, and no other message failed in between, is it given
 * up. A network that comes and goes fails others too, which makes the count begin anew; and a hub that acknowledges
 * nothing gives nobody a trial, since no other passes. Failures that have another reason (throttling, quota,
 * credentials, no connection) are none of its business.
 *
 * All of this is forgotten with the process: after a restart the event is sent like any other.
 */
export class Suspicion {
  /** Of the same message, in a row. */
  #strikes = 0;
  /** How many of the oldest events of each queue are suspected. */
  #suspects: Record<QueueName, number> = { High: 0, Low: 0 };
  readonly #passedOver: Record<QueueName, Map<number, Defendant>> = { High: new Map(), Low: new Map() };

  /** What the next message is to be made of; absent: as usual, without what is passed over. */
  next({ trials }: { trials: boolean }): { queue: QueueName; selection: Selection } | undefined {
    const { leftOut } = this;
    for (const queue of trials ? QUEUES : []) {
      for (const [alone, { othersPassed }] of this.#passedOver[queue]) {
        if (othersPassed) return { queue, selection: { leftOut, alone } };
      }
    }
    const { High, Low } = this.#suspects;
    if (High + Low === 0) return undefined;
    const queue = High > 0 ? 'High' : 'Low';
    const atMost = Math.min(this.#suspects[queue], Math.ceil((High + Low) / 2));
    return { queue, selection: { leftOut, atMost } };
  }

  /** Where nothing else waits, something that is passed over may go out, too. Its failure says nothing. */
  nextPassedOver(queue: QueueName): { queue: QueueName; selection: Selection } | undefined {
    const [alone] = this.#passedOver[queue].keys();
    return alone === undefined ? undefined : { queue, selection: { leftOut: this.leftOut, alone } };
  }

  /** What is passed over, by position, with its bytes. */
  get leftOut(): Selection['leftOut'] {
    const bytes = (queue: QueueName) =>
      new Map([...this.#passedOver[queue]].map(([position, { bytes }]) => [position, bytes]));
    return { High: bytes('High'), Low: bytes('Low') };
  }

  /** The hub has accepted a message: whatever went wrong before, it wasn't that one. */
  accepted(): void {
    this.#strikes = 0;
    for (const defendant of this.#defendants()) defendant.othersPassed = true;
  }

  /** The pack has left its queues. */
  gone(pack: Pick<Pack, 'shares'>): void {
    for (const { queue, positions } of pack.shares) {
      const suspects = [...positions].filter((position) => !this.#passedOver[queue].delete(position));
      this.#suspects[queue] = Math.max(0, this.#suspects[queue] - suspects.length);
    }
  }

  /** There was nothing to make the message of that `next` asked for. */
  nothingLeft({ queue, selection }: { queue: QueueName; selection: Selection }): void {
    if (selection.alone === undefined) this.#suspects[queue] = 0;
    else this.#passedOver[queue].delete(selection.alone);
  }

  /**
   * A message was on its way when the connection ended, or was not acknowledged.
   *
   * @returns what to do: send it `again`, make another one `anew`, leave it for `later`, or `give up` its only event
   */
  unanswered({ shares, eventCount }: Pick<Pack, 'shares' | 'eventCount'>): 'again' | 'anew' | 'later' | 'give up' {
    const [first] = shares;
    const [event] = first?.events ?? [];
    if (first === undefined || event === undefined) return 'again';
    const passedOver = this.#passedOver[first.queue];
    const defendant = passedOver.get(event.position);
    const isTrial = defendant?.othersPassed ?? false;
    for (const each of this.#defendants()) each.othersPassed = false;
    if (defendant !== undefined) {
      passedOver.delete(event.position);
      if (isTrial) defendant.failures += 1;
      if (defendant.failures >= TRIALS) return 'give up';
      passedOver.set(event.position, defendant); // behind the others, whose turn it is next
      return 'later';
    }
    for (const other of this.#defendants()) other.failures = 0;
    this.#strikes += 1;
    const suspecting = this.#suspects.High + this.#suspects.Low > 0;
    if (!suspecting && this.#strikes < STRIKES) return 'again';
    this.#strikes = 0;
    this.#suspects = { High: 0, Low: 0 };
    if (eventCount > 1) {
      for (const { queue, positions } of shares) this.#suspects[queue] = positions.size;
      return 'anew';
    }
    if ([...this.#defendants()].length >= MOST_PASSED_OVER) return 'again';
    passedOver.set(event.position, { bytes: event.jsonBytes, failures: 0, othersPassed: false });
    return 'anew';
  }

  *#defendants(): Iterable<Defendant> {
    for (const queue of QUEUES) yield* this.#passedOver[queue].values();
  }
}
