import { droppedIn } from '../../../src/core/base/counters.ts';
import type { Envelope } from '../../../src/core/contract/event.ts';
import { type Books, booksThatDoNotClose, type EventLedger, type Findings } from '../scenario/ledger.ts';
import type { NumberedEvents } from '../scenario/numbered-events.ts';
import { type AlertLoad, isEnough, nameIn } from './alert-load.ts';

const HOUR_MS = 3_600_000;

type Load = Pick<AlertLoad, 'made' | 'keys' | 'groups' | 'continued'>;

/** Compares the alerts that the hub received with those that agents raised, and with the events that happened. */
export class AlertLedger implements EventLedger {
  readonly #load: Load;
  /** Subject of an alert and the hour of its first hit, keyed by alert id. */
  readonly #alerts = new Map<string, { readonly name: string | undefined; readonly hour: number }>();
  readonly #violations: string[] = [];
  #repeated = 0;

  constructor(load: Load) {
    this.#load = load;
  }

  received(_message: number, body: string): void {
    for (const { Name, Payload } of (JSON.parse(body) as { Events: Envelope[] }).Events) {
      if (Name !== 'SecurityAlert') continue;
      for (const { AlertId, CommandLine = '', FirstSeenUtc } of Payload) {
        const [id, name] = [String(AlertId), nameIn(String(CommandLine))];
        const known = this.#alerts.get(id);
        if (known !== undefined) this.#repeated += 1;
        if (known !== undefined && known.name !== name)
          this.#violations.push(`alert ${id} is about ${known.name} and about ${name}`);
        this.#alerts.set(id, known ?? { name, hour: Math.floor(Date.parse(String(FirstSeenUtc)) / HOUR_MS) });
      }
    }
  }

  compare(_events: NumberedEvents, books: Books): Findings {
    const { made, keys, groups, continued } = this.#load;
    const lost = [...made].filter((id) => !this.#alerts.has(id));
    const told = new Map<string | undefined, number[]>();
    for (const { name, hour } of this.#alerts.values()) told.set(name, [...(told.get(name) ?? []), hour]);
    const silent = [...keys, ...groups.keys()].filter((name) => !told.has(name));
    const early = [...groups].filter(([name, group]) => told.has(name) && !isEnough(group));
    const twice = [...told].filter(([name, hours]) => name !== undefined && new Set(hours).size < hours.length);
    const dropped = droppedIn(books);
    const violations = [
      ...this.#violations,
      ...booksThatDoNotClose(books),
      ...(lost.length > dropped ? [`${lost.length} alerts that were made are missing: ${lost}`] : []),
      ...(silent.length > dropped ? [`nothing was raised by ${silent}`] : []),
      ...early.map(([name, { attempts }]) => `${name} raised an alert by ${attempts} attempts`),
      ...twice.map(([name, { length }]) => `${name} has ${length} alerts, more than one of the same hour`),
    ];
    return {
      delivered: this.#alerts.size,
      repeated: this.#repeated,
      missing: lost.length,
      unheard: 0,
      also: { 'alerts made': made.size, keys: keys.size, windows: groups.size, 'continued after a kill': continued },
      violations,
    };
  }
}
