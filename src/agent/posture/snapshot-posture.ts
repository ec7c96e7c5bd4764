import { isDeepStrictEqual } from 'node:util';
import type { Logger } from '../../core/base/log.ts';
import type { BaselinePosture } from '../../core/contract/baseline.ts';
import type { Snapshot, SnapshotConsumer } from '../../core/contract/consumers.ts';
import type { Direction } from '../host/packet-filter.ts';
import type { SnapshotFacts } from './evaluate.ts';
import { exposureOf } from './exposure.ts';
import { accountsPostureOf, type Fact, type FirewallPosture, factOf, firewallPostureOf, reasonOf } from './facts.ts';

/** Event → the fact that its snapshots are assessed for. */
export const ASSESSED_EVENTS = {
  ListeningPorts: 'exposure',
  FirewallConfiguration: 'firewall',
  LocalUsers: 'accounts',
  OSBaseline: 'baseline',
  MessageStatistics: 'messages',
} as const satisfies Readonly<Record<string, keyof SnapshotFacts>>;

export type AssessedEvent = keyof typeof ASSESSED_EVENTS;
const EVENTS = Object.keys(ASSESSED_EVENTS) as AssessedEvent[];

const NOT_YET = { unknown: 'no snapshot since the start of the agent' };
const NOT_JUDGED = { unknown: 'the snapshot could not be assessed' };

/** What a snapshot, or its failure, says. */
export type AssessedFact = SnapshotFacts[keyof SnapshotFacts];

/** Assesses the snapshots that are taken anyway, and keeps the results but no rows. */
export class SnapshotPosture implements SnapshotConsumer {
  readonly #baseline: () => BaselinePosture | undefined;
  readonly #hasIpv6: () => boolean;
  readonly #isCollected: (event: string) => boolean;
  readonly #log: Logger;
  #facts: SnapshotFacts = {
    exposure: NOT_YET,
    firewall: NOT_YET,
    accounts: NOT_YET,
    baseline: NOT_YET,
    messages: NOT_YET,
  };

  constructor(options: {
    /** The last scan: rows of OSBaseline do not tell how many rules pass. */
    baseline: () => BaselinePosture | undefined;
    hasIpv6: () => boolean;
    /** Whether snapshots of an event are taken now: none is taken for posture alone. */
    isCollected: (event: string) => boolean;
    log: Logger;
  }) {
    this.#isCollected = options.isCollected;
    this.#log = options.log;
    this.#baseline = options.baseline;
    this.#hasIpv6 = options.hasIpv6;
  }

  wants(event: string): boolean {
    return isAssessed(event) && this.#isCollected(event);
  }

  accept(snapshot: Snapshot): void {
    if (isAssessed(snapshot.event)) this.set(snapshot.event, this.assess(snapshot.event, snapshot));
  }

  failed(event: string, problem: string): void {
    if (isAssessed(event)) this.set(event, { unknown: reasonOf(problem) });
  }

  /** What a snapshot of this event says. The posture is unchanged. */
  assess(event: AssessedEvent, snapshot: Snapshot): AssessedFact {
    try {
      return this.#factOf(event, snapshot);
    } catch (error) {
      this.#log.error({ event, err: error }, 'Could not assess a snapshot; continuing.');
      return NOT_JUDGED; // not the result of the one before
    }
  }

  /** Replaces what the last snapshot of this event said. */
  set(event: AssessedEvent, fact: AssessedFact): void {
    this.#facts = { ...this.#facts, [ASSESSED_EVENTS[event]]: fact };
  }

  /** Whether this is what the last snapshot of this event said. */
  isCurrent(event: AssessedEvent, fact: AssessedFact): boolean {
    return isDeepStrictEqual(this.#facts[ASSESSED_EVENTS[event]], fact);
  }

  /** @param isOn whether an event is collected; the last snapshot of one that is off is outdated */
  facts(isOn: (event: string) => boolean): SnapshotFacts {
    const off = EVENTS.filter((event) => !isOn(event));
    const outdated = off.map((event) => [ASSESSED_EVENTS[event], { unknown: `${event} is off` }] as const);
    return { ...this.#facts, ...Object.fromEntries(outdated) };
  }

  #factOf(event: AssessedEvent, snapshot: Snapshot): AssessedFact {
    const { rows, leftOut } = snapshot;
    switch (event) {
      case 'ListeningPorts':
        // A degraded source can be complete, without the processes.
        return factOf(exposureOf(rows), snapshot, leftOut > 0);
      case 'FirewallConfiguration':
        return ofAllRules(
          factOf(firewallPostureOf(rows, { hasIpv6: this.#hasIpv6() }), snapshot, isDegraded(snapshot)),
        );
      case 'LocalUsers':
        return factOf(accountsPostureOf(rows), snapshot, isDegraded(snapshot));
      case 'OSBaseline': {
        const baseline = this.#baseline();
        return baseline === undefined ? NOT_JUDGED : { found: baseline };
      }
      case 'MessageStatistics': {
        const { MessagesSent, MessagesUnder4KB } = rows[0] as Readonly<Record<string, number>>;
        return { found: { sent: MessagesSent ?? 0, under4KB: MessagesUnder4KB ?? 0 } };
      }
    }
  }
}

export const isAssessed = (event: string): event is AssessedEvent => Object.hasOwn(ASSESSED_EVENTS, event);

const isDegraded = ({ source, leftOut }: Snapshot): boolean =>
  leftOut > 0 || source?.state === 'degraded' || source?.state === 'unavailable';

/** If not all rules could be read, another one may deny what these allow. */
function ofAllRules(fact: Fact<FirewallPosture>): Fact<FirewallPosture> {
  if ('unknown' in fact || fact.incomplete === undefined) return fact;
  const { inbound, forward, outbound, permissiveRules } = fact.found;
  const sure = (direction: Direction): Direction => (direction === 'deny' ? 'deny' : 'unknown');
  return {
    ...fact,
    found: { inbound: sure(inbound), forward: sure(forward), outbound: sure(outbound), permissiveRules },
  };
}
