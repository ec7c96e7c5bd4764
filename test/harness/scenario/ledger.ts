import type { LocalStatus } from '../../../src/agent/status/schema.ts';
import { droppedIn, sum, type Totals, UNIDENTIFIED } from '../../../src/core/base/counters.ts';
import type { Envelope } from '../../../src/core/contract/event.ts';
import { MARK, type NumberedEvents } from './numbered-events.ts';

/** The events that are counted, and the field that has their number. */
export const COUNTED: Readonly<Record<string, string>> = { ProcessCreate: 'CommandLine', Login: 'UserName' };
const NUMBERED = new RegExp(`${MARK}(\\d+)`);

interface Reception {
  readonly id: string;
  /** Number of the message, assigned by the hub. */
  readonly message: number;
}

/** The agent's accounts of the counted events. */
export interface Books extends Totals {
  readonly queued: number;
}

export interface Findings {
  readonly delivered: number;
  /** Repeated events with the same id. */
  readonly repeated: number;
  readonly missing: number;
  /** Events that happened while no agent listened, and that no log contains. */
  readonly unheard: number;
  /** Further counts, for the report. */
  readonly also?: Readonly<Record<string, number>>;
  /** Faults. */
  readonly violations: readonly string[];
}

/** Compares the events that the hub received with the events that happened. */
export interface EventLedger {
  /** @param message counted up by the hub */
  received(message: number, body: string): void;
  /** A client has connected. */
  connected?(): void;
  /** Records that no agent listened between these times of the monotonic clock. */
  absent?(from: number, to: number): void;
  compare(events: NumberedEvents, books: Books): Findings;
}

/** A ledger of numbered events. */
export class Ledger implements EventLedger {
  readonly #receptions: Reception[][] = [];
  /** The last message before each new connection: it may have been in flight when the one before ended. */
  readonly #lastOfConnection = new Set<number>();
  /** Times of the monotonic clock between which no agent listened. */
  readonly #absences: { readonly from: number; readonly to: number }[] = [];
  #lastMessage = 0;
  #elements = 0;

  received(message: number, body: string): void {
    this.#lastMessage = message;
    for (const event of (JSON.parse(body) as { Events: Envelope[] }).Events) {
      const field = COUNTED[event.Name];
      if (field === undefined) continue;
      this.#elements += event.Payload.length;
      for (const { [field]: text } of event.Payload) {
        const number = Number(NUMBERED.exec(String(text))?.[1] ?? Number.NaN);
        if (Number.isNaN(number)) continue;
        this.#receptions[number] ??= [];
        this.#receptions[number].push({ id: event.Id, message });
      }
    }
  }

  connected(): void {
    this.#lastOfConnection.add(this.#lastMessage);
  }

  absent(from: number, to: number): void {
    this.#absences.push({ from, to });
  }

  compare(events: NumberedEvents, books: Books): Findings {
    const { appended } = events;
    const violations: string[] = [];
    const missing: number[] = [];
    let unheard = 0;
    let unanswered = 0;
    let delivered = 0;
    let repeated = 0;
    for (let number = 0; number < appended; number += 1) {
      const [first, ...again] = this.#receptions[number] ?? [];
      if (first === undefined) {
        if (this.#absences.some(({ from, to }) => events.happenedWithin?.(number, from, to))) unheard += 1;
        else missing.push(number);
        continue;
      }
      delivered += 1;
      repeated += again.length;
      const last = again.at(-1) ?? first;
      if (this.#lastOfConnection.has(last.message)) unanswered += 1;
      let before = first;
      for (const next of again) {
        if (next.id !== first.id) violations.push(`${number} came twice, with ids ${first.id} and ${next.id}`);
        const wasInFlight = this.#lastOfConnection.has(before.message) && next.message !== before.message;
        if (!wasInFlight && events.wasReadAgain?.(number) !== true)
          violations.push(`${number} came in messages ${before.message} and ${next.message}, and needn't have`);
        before = next;
      }
    }
    const { kernel = 0, malformed = 0 } = books.dropped;
    if (events.isComplete && kernel + malformed > 0)
      violations.push(`${kernel} count as lost, and ${malformed} as broken, and none were`);
    violations.push(...this.#compareBooks({ appended: appended - unheard, missing, unanswered }, books));
    return { delivered, repeated, missing: missing.length, unheard, violations };
  }

  /**
   * More events than the numbered ones may have been collected and dropped: other events of these names, and repeated
   * reads.
   *
   * @param numbers `unanswered`: events at the hub whose acknowledgement the agent may have missed, so that it may have
   *   dropped them
   */
  #compareBooks(
    { appended, missing, unanswered }: { appended: number; missing: readonly number[]; unanswered: number },
    books: Books,
  ): string[] {
    const { collected, delivered } = books;
    const dropped = droppedIn(books);
    const explained = missing.length + (collected - appended) + unanswered;
    return [
      ...booksThatDoNotClose(books),
      ...(collected < appended ? [`${appended} happened, and ${collected} were collected`] : []),
      ...(delivered > this.#elements ? [`${delivered} count as delivered, and the hub has ${this.#elements}`] : []),
      ...(missing.length > dropped
        ? [`${dropped} count as dropped, and ${missing.length} are missing: ${missing}`]
        : []),
      ...(dropped > explained ? [`${dropped} count as dropped, and ${missing.length} are missing`] : []),
    ];
  }
}

/** Compares the counts of repeated events that the hub received with the number of events that happened. */
export class CountLedger implements EventLedger {
  readonly #hits = new Map<string, number>();
  #repeated = 0;

  received(_message: number, body: string): void {
    for (const { Id, Payload } of (JSON.parse(body) as { Events: Envelope[] }).Events) {
      const counts = Payload.filter(({ CommandLine }) => String(CommandLine).includes(MARK)).map(({ ExtraDetails }) =>
        Number((ExtraDetails as Record<string, string> | undefined)?.HitCount ?? 1),
      );
      const hits = counts.reduce((all, count) => all + count, 0);
      if (this.#hits.has(Id)) this.#repeated += hits;
      this.#hits.set(Id, hits);
    }
  }

  compare(events: NumberedEvents, books: Books): Findings {
    const { appended } = events;
    const delivered = [...this.#hits.values()].reduce((all, hits) => all + hits, 0);
    const missing = Math.max(0, appended - delivered);
    const dropped = droppedIn(books);
    const mostDelivered = appended + (events.mostReadAgain?.() ?? 0);
    const violations = [
      ...booksThatDoNotClose(books),
      ...(missing > dropped ? [`${missing} of ${appended} are missing, ${dropped} count as dropped`] : []),
      ...(delivered > mostDelivered ? [`${delivered} were delivered, and only ${appended} happened`] : []),
    ];
    return { delivered, repeated: this.#repeated, missing, unheard: 0, violations };
  }
}

export function booksThatDoNotClose(books: Books): string[] {
  const { collected, delivered, aggregatedAway, queued } = books;
  const closes = collected === delivered + aggregatedAway + queued + droppedIn(books);
  return closes ? [] : [`the books don't close: ${JSON.stringify(books)}`];
}

/** The accounts of counted events, including unnamed losses, since there are no other events. */
export function booksOf({ events }: LocalStatus, counted: Readonly<Record<string, string>> = COUNTED): Books {
  const rows = [...Object.keys(counted), UNIDENTIFIED].flatMap((name) => events[name] ?? []);
  return { ...sum(rows), queued: rows.reduce((all, { queued }) => all + queued, 0) };
}
