import type { Envelope } from '../../src/contract/event.ts';
import { MARK, type NumberedEvents } from './numbered-events.ts';

/** The events that are counted, and the field that has their number. */
export const COUNTED: Readonly<Record<string, string>> = { ProcessCreate: 'CommandLine', Login: 'UserName' };
const NUMBERED = new RegExp(`${MARK}(\\d+)`);

interface Reception {
  readonly id: string;
  /** Of the message, counted up by the hub. */
  readonly message: number;
}

/** What the agent says of the events that are counted. */
export interface Books {
  readonly collected: number;
  readonly delivered: number;
  readonly aggregatedAway: number;
  readonly queued: number;
  readonly dropped: Readonly<Record<string, number>>;
}

export interface Findings {
  readonly delivered: number;
  /** Of events that came before, with the same id. */
  readonly repeated: number;
  readonly missing: readonly number[];
  /** They happened when nobody listened, and nothing has them on record. */
  readonly unheard: number;
  /** What must not be. */
  readonly violations: readonly string[];
}

/** Holds what the hub received of numbered events against what happened. */
export class Ledger {
  readonly #receptions: Reception[][] = [];
  /** The last message before each new connection: it may have been in flight when the one before ended. */
  readonly #lastOfConnection = new Set<number>();
  /** Times of the monotonic clock between which nobody listened. */
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

  /** A client has connected. */
  connected(): void {
    this.#lastOfConnection.add(this.#lastMessage);
  }

  /** Nobody listened between these times of the monotonic clock. */
  absent(from: number, to: number): void {
    this.#absences.push({ from, to });
  }

  judge(events: NumberedEvents, books: Books): Findings {
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
        if (this.#absences.some(({ from, to }) => events.happenedWithin(number, from, to))) unheard += 1;
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
        if (!wasInFlight && !events.wasReadAgain(number))
          violations.push(`${number} came in messages ${before.message} and ${next.message}, and needn't have`);
        before = next;
      }
    }
    violations.push(...this.#judgeBooks({ appended: appended - unheard, missing, unanswered }, books));
    return { delivered, repeated, missing, unheard, violations };
  }

  /**
   * More may have been collected than is numbered, and dropped: other events of these names, and what was read again.
   *
   * @param numbers `unanswered`: the hub has them, and the agent may not know, so that it may have dropped them
   */
  #judgeBooks(
    { appended, missing, unanswered }: { appended: number; missing: readonly number[]; unanswered: number },
    { collected, delivered, aggregatedAway, queued, dropped: reasons }: Books,
  ): string[] {
    const dropped = Object.values(reasons).reduce((all, count) => all + count, 0);
    const explained = missing.length + (collected - appended) + unanswered;
    return [
      ...(collected === delivered + aggregatedAway + queued + dropped ? [] : ["the books don't close"]),
      ...(collected < appended ? [`${appended} happened, and ${collected} were collected`] : []),
      ...(delivered > this.#elements ? [`${delivered} count as delivered, and the hub has ${this.#elements}`] : []),
      ...(missing.length > dropped
        ? [`${dropped} count as dropped, and ${missing.length} are missing: ${missing}`]
        : []),
      ...(dropped > explained ? [`${dropped} count as dropped, and ${missing.length} are missing`] : []),
    ];
  }
}
