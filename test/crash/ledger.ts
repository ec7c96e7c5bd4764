import type { Envelope } from '../../src/contract/event.ts';
import { MARK } from './numbered-log.ts';

const EVENT = 'ProcessCreate';
const NUMBERED = new RegExp(`${MARK}(\\d+)`);

interface Reception {
  readonly id: string;
  /** Of the message, counted up by the hub. */
  readonly message: number;
}

/** What the agent says of the numbered events' kind. */
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
  /** What must not be. */
  readonly violations: readonly string[];
}

/** Holds what the hub received of numbered events against what happened. */
export class Ledger {
  readonly #receptions: Reception[][] = [];
  /** The last message before each new connection: it may have been in flight when the one before ended. */
  readonly #lastOfConnection = new Set<number>();
  /** For each kill, how far the agent had noted to have read the log. */
  readonly #kills: number[] = [];
  #lastMessage = 0;
  #elements = 0;

  received(message: number, body: string): void {
    this.#lastMessage = message;
    for (const event of (JSON.parse(body) as { Events: Envelope[] }).Events) {
      if (event.Name !== EVENT) continue;
      this.#elements += event.Payload.length;
      for (const { CommandLine } of event.Payload) {
        const number = Number(NUMBERED.exec(String(CommandLine))?.[1] ?? Number.NaN);
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

  /** @param readTo what the agent had noted of the log as read and handed over, in bytes */
  killed(readTo: number): void {
    this.#kills.push(readTo);
  }

  has(number: number): boolean {
    return this.#receptions[number] !== undefined;
  }

  /**
   * @param appended how many there are
   * @param endOf where the log's last record of a number ends, in bytes
   */
  judge(appended: number, endOf: (number: number) => number, books: Books): Findings {
    const violations: string[] = [];
    const missing: number[] = [];
    let delivered = 0;
    let repeated = 0;
    for (let number = 0; number < appended; number += 1) {
      const [first, ...again] = this.#receptions[number] ?? [];
      if (first === undefined) {
        missing.push(number);
        continue;
      }
      delivered += 1;
      repeated += again.length;
      let before = first;
      for (const next of again) {
        if (next.id !== first.id) violations.push(`${number} came twice, with ids ${first.id} and ${next.id}`);
        const wasInFlight = this.#lastOfConnection.has(before.message) && next.message !== before.message;
        const wasReadAgain = this.#kills.some((readTo) => readTo < endOf(number));
        if (!wasInFlight && !wasReadAgain)
          violations.push(`${number} came in messages ${before.message} and ${next.message}, and needn't have`);
        before = next;
      }
    }
    violations.push(...this.#judgeBooks(appended, missing, books));
    return { delivered, repeated, missing, violations };
  }

  #judgeBooks(appended: number, missing: readonly number[], books: Books): string[] {
    const dropped = Object.values(books.dropped).reduce((all, count) => all + count, 0);
    const violations: string[] = [];
    const { collected, delivered, aggregatedAway, queued } = books;
    if (collected !== delivered + aggregatedAway + queued + dropped)
      violations.push(`the books don't close: ${JSON.stringify(books)}`);
    if (missing.length > dropped)
      violations.push(`${missing.length} of ${appended} are missing, ${dropped} were counted as dropped: ${missing}`);
    if (dropped > missing.length + (collected - appended))
      violations.push(`${dropped} were counted as dropped, but only ${missing.length} are missing`);
    if (collected < appended) violations.push(`${appended} happened, and ${collected} were collected`);
    if (delivered > this.#elements)
      violations.push(`${delivered} were counted as delivered, and the hub has ${this.#elements}`);
    return violations;
  }
}
