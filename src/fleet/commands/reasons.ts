import { isPlainObject } from '../../core/base/values.ts';
import { EVENTS } from '../../core/contract/events.ts';
import type { Row } from '../service.ts';
import { AGENT } from './columns.ts';

/* Why agents are degraded, derived from their reported properties: the twin has no list of causes. Reported properties are
 * untrusted, so every name printed here is a constant of this file or a known event; their messages are shown by --json only. */

/** One cause of an agent's state `degraded`. */
export interface Reason {
  /** Short and from a fixed set, so that devices can be grouped by it. */
  readonly reason: string;
  /** The agent's own text about it, with the remedy; untrusted, at most MAX_DETAIL_CHARACTERS. */
  readonly detail?: string;
}

const MAX_DETAIL_CHARACTERS = 1_000;

const UNKNOWN_CAUSE = 'cause not reported';

/** Queried columns that only the reasons need, keyed by name. */
export const REASON_FIELDS = {
  collectors: `${AGENT}.collectors`,
  warnings: `${AGENT}.configuration.warnings`,
  held: `${AGENT}.delivery.held`,
  overShare: `${AGENT}.delivery.overShare`,
  store: `${AGENT}.store`,
  detectionsState: `${AGENT}.detections.state`,
  detectionsReason: `${AGENT}.detections.reason`,
  exposed: `${AGENT}.exposed`,
  credential: `${AGENT}.credential`,
} as const;

/** Events whose best source is the kernel's audit. */
const AUDITED: readonly string[] = [EVENTS.ProcessCreate.name, EVENTS.ConnectionCreate.name, EVENTS.Login.name];

/** Every cause that the row shows, each reason once; empty unless the agent is degraded. */
export function reasonsOf(row: Row): readonly Reason[] {
  if (row.state !== 'degraded') return [];
  const found = [...configurationReasons(row), ...collectorReasons(row), ...otherReasons(row)];
  const unique = found.filter(({ reason }, at) => found.findIndex((other) => other.reason === reason) === at);
  if (unique.length > 0) return unique;
  // Without another cause, a warning is one; other warnings, such as unknown properties, leave the agent running.
  const warnings = membersOf(row.warnings);
  return warnings.length === 0
    ? [{ reason: UNKNOWN_CAUSE }]
    : [reasonWith('configuration warning', messagesOf(Object.fromEntries(warnings)))];
}

function configurationReasons({ errors, warnings }: Row): Reason[] {
  const limited = membersOf(warnings).filter(([, text]) => typeof text === 'string' && LIMITED.test(text));
  return [
    ...(membersOf(errors).length > 0 ? [reasonWith('configuration refused', messagesOf(errors))] : []),
    ...(limited.length > 0 ? [reasonWith('events off or late', messagesOf(Object.fromEntries(limited)))] : []),
  ];
}

/** Warnings about values that the local file does not allow. */
const LIMITED = /limits\.(?:mayBeOff|longestMessageFrequency)/;

function collectorReasons({ collectors, held }: Row): Reason[] {
  if (!isPlainObject(collectors)) return [];
  const heldReason = isPlainObject(held) ? held.reason : undefined;
  return Object.values(EVENTS).flatMap(({ name }) => {
    const collector = Object.hasOwn(collectors, name) ? collectors[name] : undefined;
    if (!isPlainObject(collector)) return [];
    const { state, source, reason } = collector;
    if (state !== 'degraded' && state !== 'unavailable') return [];
    if (heldReason !== undefined && reason === heldReason) return []; // reported once, by otherReasons
    if (typeof reason === 'string' && reason.includes('memoryBudgetInMegabytes')) return [reasonWith('memory', reason)];
    const isAudited = typeof source === 'string' && source.startsWith('audit');
    if (AUDITED.includes(name) && !isAudited) return [reasonWith('no kernel audit', reason)];
    return [reasonWith(`${name} ${state}`, reason)];
  });
}

function otherReasons({
  held,
  overShare,
  store,
  detectionsState,
  detectionsReason,
  exposed,
  credential,
}: Row): Reason[] {
  const { place, reason, unsaved, isNearlyFull } = isPlainObject(store) ? store : {};
  const { expiresSoon, error } = isPlainObject(credential) ? credential : {};
  return [
    ...(isPlainObject(held) ? [reasonWith('message units used up', held.reason)] : []),
    ...(typeof overShare === 'string' ? [reasonWith("a user's share of message units used up", overShare)] : []),
    ...(place === 'memory' ? [reasonWith('events in memory only', reason)] : []),
    ...(isNearlyFull === true ? [reasonWith('queues nearly full')] : []),
    ...(typeof unsaved === 'string' ? [reasonWith('state not saved', unsaved)] : []),
    ...(detectionsState === 'degraded' ? [reasonWith('detections incomplete', detectionsReason)] : []),
    ...(membersOf(exposed).length > 0 ? [reasonWith('files exposed', messagesOf(exposed))] : []),
    ...(isPlainObject(error) ? [reasonWith('credential refused', error.reason)] : []),
    ...(expiresSoon === true ? [reasonWith('credential expires soon')] : []),
  ];
}

function reasonWith(reason: string, detail?: unknown): Reason {
  if (typeof detail !== 'string' || detail === '') return { reason };
  const isLong = detail.length > MAX_DETAIL_CHARACTERS;
  return { reason, detail: isLong ? `${detail.slice(0, MAX_DETAIL_CHARACTERS - 1)}…` : detail };
}

const membersOf = (value: unknown): readonly (readonly [string, unknown])[] =>
  isPlainObject(value) ? Object.entries(value) : [];

/** `property message; property message` */
const messagesOf = (value: unknown): string =>
  membersOf(value)
    .map(([name, text]) => `${name} ${typeof text === 'string' ? text : ''}`.trim())
    .join('; ');

/** Counts devices by keys, of which some come from devices: those beyond MAX_KEYS count as `other`. */
export class Tally {
  readonly #counts = new Map<string, number>();

  add(key: string): void {
    const known = this.#counts.has(key) || this.#counts.size < MAX_KEYS ? key : 'other';
    this.#counts.set(known, (this.#counts.get(known) ?? 0) + 1);
  }

  get entries(): readonly (readonly [key: string, count: number])[] {
    return [...this.#counts];
  }
}

/** More than there are reasons. */
const MAX_KEYS = 60;

/** `2,913 × no kernel audit, 41 × memory`, the most frequent first. */
export const describeReasons = ({ entries }: Tally): string =>
  entries
    .toSorted(([, one], [, other]) => other - one)
    .map(([reason, count]) => `${count.toLocaleString('en-US')} × ${reason}`)
    .join(', ');
