import type { LocalStatus } from '../../../src/agent/status/schema.ts';
import { droppedIn, UNIDENTIFIED } from '../../../src/core/base/counters.ts';
import type { Envelope, Payload } from '../../../src/core/contract/event.ts';
import { booksThatDoNotClose } from '../scenario/ledger.ts';

/**
 * Marks events that this process generated, in a command line or a user name. The string after the mark identifies
 * them.
 */
export const MARK = `vakt-soak-${process.pid}-`;
const MARKED = new RegExp(`${MARK}[\\w-]+`);

/** Events that the soak generates and counts. */
export const COUNTED = ['ProcessCreate', 'ConnectionCreate', 'Login'] as const;
export type Counted = (typeof COUNTED)[number];

/** Compares the events that the hub received, and the agent's accounts, with the generated events. */
export class Tally {
  /** Numbers of generated and of received events, aggregated or not; keyed by content. */
  readonly #made = new Map<string, number>();
  readonly #told = new Map<string, number>();
  /** Ids of all received events, to recognise repeats. */
  readonly #ids = new Set<string>();
  /** Received elements, as in the agent's accounts; keyed by event. */
  readonly #received = new Map<string, number>();
  /** Received occurrences of any origin, keyed by event. */
  readonly #occurrences = new Map<string, number>();
  #repeats = 0;

  /** Events that arrived again with the same id, for example after a lost acknowledgement. */
  get repeats(): number {
    return this.#repeats;
  }

  /** Counts a generated event. @param what its content, with the mark */
  made(event: Counted, what: string): void {
    add(this.#made, `${event} ${what}`, 1);
  }

  /** The hub has received a message. */
  received(body: string): void {
    for (const event of (JSON.parse(body) as { Events: Envelope[] }).Events) {
      if (this.#ids.has(event.Id)) {
        this.#repeats += 1;
        continue;
      }
      this.#ids.add(event.Id);
      add(this.#received, event.Name, event.Category === 'Periodic' ? 1 : event.Payload.length);
      for (const element of event.Payload) this.#tell(event.Name, element);
    }
  }

  /** Number of generated events, by event. */
  count(event: Counted): number {
    return sum(of(this.#made, event).map(([, made]) => made));
  }

  /** Number of generated events that were not reported, by event. */
  missing(event: Counted): number {
    return sum(of(this.#made, event).map(([what, made]) => Math.max(0, made - (this.#told.get(what) ?? 0))));
  }

  /** Events that were reported more often than they happened. */
  toldTooOften(): string[] {
    return [...this.#told]
      .filter(([what, told]) => told > (this.#made.get(what) ?? 0))
      .map(([what, told]) => `${what} happened ${this.#made.get(what) ?? 0} times, and was told ${told} times`);
  }

  /**
   * Faults of the agent's accounts. There must be none once everything deliverable has been delivered.
   *
   * @param status taken when the agent has nothing left to do
   */
  disagreements({ events }: Pick<LocalStatus, 'events'>): string[] {
    const wrong: string[] = [];
    for (const [name, account] of Object.entries(events)) {
      const { delivered } = account;
      const dropped = droppedIn(account);
      wrong.push(...booksThatDoNotClose(account).map((fault) => `${name}: ${fault}`));
      const received = this.#received.get(name) ?? 0;
      if (delivered > received) wrong.push(`${name}: ${delivered} count as delivered, and the hub has ${received}`);
      if (received > delivered + dropped)
        wrong.push(`${name}: the hub has ${received}, ${delivered} count as delivered and ${dropped} as dropped`);
    }
    // What the agent could not identify can be any of these. An element that counts several occurrences and is lost counts as
    // one that was dropped, and its others as aggregated away: so the hub received fewer than were collected and not dropped.
    const unidentified = events[UNIDENTIFIED] === undefined ? 0 : droppedIn(events[UNIDENTIFIED]);
    for (const event of COUNTED) {
      const account = events[event];
      const [made, missing] = [this.count(event), this.missing(event)];
      const [collected, dropped] = account === undefined ? [0, 0] : [account.collected, droppedIn(account)];
      const told = this.#occurrences.get(event) ?? 0;
      if (dropped === 0 ? told !== collected : told > collected - dropped)
        wrong.push(`${event}: ${collected} were collected, ${dropped} dropped, and the hub was told of ${told}`);
      if (missing > unidentified + collected - told)
        wrong.push(`${event}: ${missing} of ${made} are missing, and ${unidentified + collected - told} count as lost`);
      if (made > collected + unidentified) wrong.push(`${event}: ${made} happened, and ${collected} were collected`);
    }
    return wrong;
  }

  #tell(event: string, element: Payload): void {
    const { HitCount = '1' } = (element.ExtraDetails ?? {}) as { HitCount?: string };
    add(this.#occurrences, event, Number(HitCount));
    const what = subjectOf(event, element);
    if (what !== undefined) add(this.#told, `${event} ${what}`, Number(HitCount));
  }
}

/** The content of an element that the soak generated; `undefined` for any other. */
function subjectOf(event: string, element: Payload): string | undefined {
  if (event === 'ProcessCreate') return MARKED.exec(String(element.CommandLine))?.[0];
  if (event === 'ConnectionCreate')
    return element.Direction === 'Out' ? MARKED.exec(String(element.CommandLine))?.[0] : undefined;
  if (event !== 'Login') return undefined;
  const user = MARKED.exec(String(element.UserName))?.[0];
  return user === undefined ? undefined : `${user} ${element.Operation}`;
}

const of = (counts: ReadonlyMap<string, number>, event: Counted) =>
  [...counts].filter(([what]) => what.startsWith(`${event} `));
const sum = (values: readonly number[]): number => values.reduce((all, value) => all + value, 0);

function add(counts: Map<string, number>, what: string, count: number): void {
  counts.set(what, (counts.get(what) ?? 0) + count);
}
