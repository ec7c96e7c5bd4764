import { droppedIn } from '../../../src/core/base/counters.ts';
import type { Envelope } from '../../../src/core/contract/event.ts';
import { type Books, booksThatDoNotClose, type EventLedger, type Findings } from '../scenario/ledger.ts';
import { MARK, type NumberedEvents } from '../scenario/numbered-events.ts';

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

  judge(events: NumberedEvents, books: Books): Findings {
    const { appended } = events;
    const delivered = [...this.#hits.values()].reduce((all, hits) => all + hits, 0);
    const missing = Math.max(0, appended - delivered);
    const dropped = droppedIn(books);
    const mostDelivered = appended + events.mostReadAgain();
    const violations = [
      ...booksThatDoNotClose(books),
      ...(missing > dropped ? [`${missing} of ${appended} are missing, ${dropped} count as dropped`] : []),
      ...(delivered > mostDelivered ? [`${delivered} were delivered, and only ${appended} happened`] : []),
    ];
    return { delivered, repeated: this.#repeated, missing, unheard: 0, violations };
  }
}
