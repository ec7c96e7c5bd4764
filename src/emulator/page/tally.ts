import { minutes } from '../../core/base/duration.ts';
import { unitsOf } from '../../core/contract/message.ts';
import type { ReceivedMessage } from '../message-log.ts';
import type { AlertRow, Minute, Totals } from './protocol.ts';
import { alertsOf, eventNamesOf } from './rows.ts';

/** Number of minutes kept. */
const KEPT_MINUTES = 60;
/** Maximum number of event names counted per minute; the agent has 16, but anyone with its key can invent more. */
const MAX_NAMES = 32;
const KEPT_ALERTS = 100;

interface Counts {
  messages: number;
  bytes: number;
  units: number;
  changed: boolean;
  readonly events: Map<string, number>;
}

/** Counts messages per minute and keeps the latest alerts. Its size is bounded for any input. */
export class Tally {
  readonly #minutes = new Map<number, Counts>();
  /** Alerts, keyed by module and id; an update moves an alert to the end. */
  readonly #alerts = new Map<string, AlertRow>();
  readonly #changedAlerts = new Map<string, AlertRow>();
  #totals: Totals = { messages: 0, bytes: 0, units: 0, events: 0 };

  get totals(): Totals {
    return this.#totals;
  }

  /** Oldest first. */
  get minutes(): Minute[] {
    return [...this.#minutes.keys()].map((minute) => this.#minute(minute));
  }

  /** The least recent first. */
  get alerts(): AlertRow[] {
    return [...this.#alerts.values()];
  }

  add(message: ReceivedMessage): void {
    const { enqueuedAt, sizeBytes } = message;
    const names = eventNamesOf(message);
    const units = unitsOf(sizeBytes);
    const counts = this.#countsOf(Math.floor(enqueuedAt.getTime() / minutes(1)));
    counts.messages += 1;
    counts.bytes += sizeBytes;
    counts.units += units;
    counts.changed = true;
    for (const name of names) {
      const counted = counts.events.has(name) || counts.events.size < MAX_NAMES ? name : 'others';
      counts.events.set(counted, (counts.events.get(counted) ?? 0) + 1);
    }
    const { messages, bytes, units: before, events } = this.#totals;
    this.#totals = {
      messages: messages + 1,
      bytes: bytes + sizeBytes,
      units: before + units,
      events: events + names.length,
    };
    for (const alert of alertsOf(message)) this.#remember(alert);
  }

  /** Returns the changes since the last call. */
  takeChanged(): { readonly minutes: readonly Minute[]; readonly alerts: readonly AlertRow[] } {
    const minutes = [...this.#minutes].filter(([, counts]) => counts.changed);
    for (const [, counts] of minutes) counts.changed = false;
    const alerts = [...this.#changedAlerts.values()];
    this.#changedAlerts.clear();
    return { minutes: minutes.map(([minute]) => this.#minute(minute)), alerts };
  }

  #countsOf(minute: number): Counts {
    const known = this.#minutes.get(minute);
    if (known !== undefined) return known;
    const counts: Counts = { messages: 0, bytes: 0, units: 0, changed: true, events: new Map() };
    this.#minutes.set(minute, counts);
    shrink(this.#minutes, KEPT_MINUTES);
    return counts;
  }

  #remember(alert: AlertRow): void {
    const key = `${alert.module} ${alert.id}`;
    for (const alerts of [this.#alerts, this.#changedAlerts]) {
      alerts.delete(key);
      alerts.set(key, alert);
      shrink(alerts, KEPT_ALERTS);
    }
  }

  #minute(minute: number): Minute {
    const { messages, bytes, units, events } = this.#minutes.get(minute) as Counts;
    return { minute, messages, bytes, units, events: Object.fromEntries(events) };
  }
}

/** Removes the entries that were added first. */
function shrink(map: Map<unknown, unknown>, size: number): void {
  for (const key of map.keys()) {
    if (map.size <= size) return;
    map.delete(key);
  }
}
