import { QUEUES, type QueueName } from '../../core/contract/event.ts';
import type { Pack, Selection } from './pack.ts';

/** Consecutive failures of the same message after which its events are suspected. */
const STRIKES = 3;
/**
 * Failed trials after which an event is given up. In a trial the event is sent alone, just after another message was
 * accepted. On a network that loses half of all messages, one event in a million would fail all of them by chance.
 */
const TRIALS = 10;
/** Limit of events skipped at a time. If more fail, the cause is not a single event. */
const MAX_PASSED_OVER = 4;

/** An event that is left out of normal messages. */
interface PassedOver {
  readonly bytes: number;
  /** Consecutive failed trials. */
  failures: number;
  /** Another message was accepted since this event was last sent, so that the next attempt is a trial. */
  othersAccepted: boolean;
}

/**
 * Finds an event on which the hub closes the connection, or which it never acknowledges, so that this event does not
 * block its queue. An outage must never be mistaken for that.
 *
 * After three failures in a row a message is split into halves, down to a single event. That event is skipped, so
 * that the events after it are sent; it stays in the queue. Each accepted message gives it one trial: it is sent
 * alone. It is given up after ten failed trials in a row. A failure of any other message resets the count, as on an
 * unreliable network. A hub that acknowledges nothing grants no trial, since no message is accepted. Failures with a
 * known cause (throttling, quota, credentials, no connection) are not reported to this class.
 *
 * The state is not persisted: after a restart the event is sent like any other.
 */
export class Suspicion {
  /** Consecutive failures of the current message. */
  #strikes = 0;
  /** How many of the oldest events of each queue are suspected. */
  #suspects: Record<QueueName, number> = { High: 0, Low: 0 };
  readonly #passedOver: Record<QueueName, Map<number, PassedOver>> = { High: new Map(), Low: new Map() };

  /** Which events the next message is to hold; `undefined`: the usual ones, without skipped events. */
  next({ trials }: { trials: boolean }): { queue: QueueName; selection: Selection } | undefined {
    const { leftOut } = this;
    for (const queue of trials ? QUEUES : []) {
      for (const [alone, { othersAccepted }] of this.#passedOver[queue]) {
        if (othersAccepted) return { queue, selection: { leftOut, alone } };
      }
    }
    const { High, Low } = this.#suspects;
    if (High + Low === 0) return undefined;
    const queue = High > 0 ? 'High' : 'Low';
    const atMost = Math.min(this.#suspects[queue], Math.ceil((High + Low) / 2));
    return { queue, selection: { leftOut, atMost } };
  }

  /** A passed-over event, for a queue with no other events. If it fails, that does not count as a failed trial. */
  nextPassedOver(queue: QueueName): { queue: QueueName; selection: Selection } | undefined {
    const [alone] = this.#passedOver[queue].keys();
    return alone === undefined ? undefined : { queue, selection: { leftOut: this.leftOut, alone } };
  }

  /** The passed-over events: their bytes by position. */
  get leftOut(): Selection['leftOut'] {
    const bytes = (queue: QueueName) =>
      new Map([...this.#passedOver[queue]].map(([position, { bytes }]) => [position, bytes]));
    return { High: bytes('High'), Low: bytes('Low') };
  }

  /** Call this when the hub has accepted a message. */
  accepted(): void {
    this.#strikes = 0;
    for (const event of this.#allPassedOver()) event.othersAccepted = true;
  }

  /** Call this when the events of a pack have left their queues. */
  gone(pack: Pick<Pack, 'shares'>): void {
    for (const { queue, positions } of pack.shares) {
      const suspects = [...positions].filter((position) => !this.#passedOver[queue].delete(position));
      this.#suspects[queue] = Math.max(0, this.#suspects[queue] - suspects.length);
    }
  }

  /** Call this when the events that `next` selected are no longer in the queue. */
  selectionGone({ queue, selection }: { queue: QueueName; selection: Selection }): void {
    if (selection.alone === undefined) this.#suspects[queue] = 0;
    else this.#passedOver[queue].delete(selection.alone);
  }

  /**
   * Call this when a message was not acknowledged, or the connection ended before it was.
   *
   * @returns `resend`: send the same message again; `repack`: pack its events again, at once; `later`: keep the event
   *   for its next trial; `give up`: drop its only event
   */
  unanswered({ shares, eventCount }: Pick<Pack, 'shares' | 'eventCount'>): 'resend' | 'repack' | 'later' | 'give up' {
    const [first] = shares;
    const [event] = first?.events ?? [];
    if (first === undefined || event === undefined) return 'resend';
    const passedOver = this.#passedOver[first.queue];
    const tried = passedOver.get(event.position);
    const isTrial = tried?.othersAccepted ?? false;
    for (const each of this.#allPassedOver()) each.othersAccepted = false;
    if (tried !== undefined) {
      passedOver.delete(event.position);
      if (isTrial) tried.failures += 1;
      if (tried.failures >= TRIALS) return 'give up';
      passedOver.set(event.position, tried); // to the end, so that the others get their trials first
      return 'later';
    }
    for (const other of this.#allPassedOver()) other.failures = 0;
    this.#strikes += 1;
    const suspecting = this.#suspects.High + this.#suspects.Low > 0;
    if (!suspecting && this.#strikes < STRIKES) return 'resend';
    this.#strikes = 0;
    this.#suspects = { High: 0, Low: 0 };
    if (eventCount > 1) {
      for (const { queue, positions } of shares) this.#suspects[queue] = positions.size;
      return 'repack';
    }
    if ([...this.#allPassedOver()].length >= MAX_PASSED_OVER) return 'resend';
    passedOver.set(event.position, { bytes: event.jsonBytes, failures: 0, othersAccepted: false });
    return 'repack';
  }

  *#allPassedOver(): Iterable<PassedOver> {
    for (const queue of QUEUES) yield* this.#passedOver[queue].values();
  }
}
