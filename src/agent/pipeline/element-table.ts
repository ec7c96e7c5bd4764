import type { Aggregation } from '../../core/contract/collector.ts';
import type { Payload } from '../../core/contract/event.ts';
import { MARKS } from './envelope.ts';

/** Equal payloads, counted. */
export interface Element {
  /**
   * Their common payload. Its strings are copies: a payload's strings are mostly slices of a record's text, and V8 keeps
   * the whole record in memory as long as one slice is referenced.
   */
  readonly payload: Payload;
  /** Bytes of the payload's JSON. */
  readonly bytes: number;
  /** The owner of its first occurrence, or of its payload if an earlier run counted that; see ownerOf. */
  readonly owner?: string | undefined;
  hits: number;
  /** Milliseconds since the Unix epoch. */
  first: number;
  last: number;
  /** Its number in the current file of the window log; −1 if it is not in there. */
  number: number;
  /** Whether its counts have changed since they were last written. */
  changed: boolean;
}

/** Maximum length of a bucket that is searched; elements of a larger one are looked up by a text made of their fields. */
const MAX_BUCKET_LENGTH = 8;

type Bucket = Element[] | Map<string, Element>;

/**
 * Finds the element that is equal to a payload.
 *
 * This is done for each started program, so a payload with a known element is only compared, field by field, without
 * copying, serializing or hashing. Elements are kept in buckets by their first field. The length of a bucket is limited,
 * also for payloads chosen by an attacker.
 */
export class ElementTable {
  /** Replacements of some fields; see Aggregation.blank. */
  readonly #blank: Aggregation<Payload>['blank'];
  readonly #first: string;
  readonly #others: readonly string[];
  readonly #details: readonly string[];
  readonly #buckets = new Map<unknown, Bucket>();

  constructor(rule: Aggregation<Payload>) {
    this.#blank = rule.blank;
    [this.#first = '', ...this.#others] = rule.by;
    this.#details = detailsOf(rule);
  }

  find(payload: Payload): Element | undefined {
    const blank = blankOf(this.#blank, payload);
    const bucket = this.#buckets.get(fieldOf(payload, blank, this.#first));
    if (bucket === undefined) return undefined;
    if (bucket instanceof Map) return bucket.get(this.#keyOf(payload, blank));
    for (const element of bucket) if (this.#isEqual(element.payload, payload, blank)) return element;
    return undefined;
  }

  add(element: Element): void {
    const { payload } = element;
    const first = payload[this.#first];
    let bucket = this.#buckets.get(first);
    if (bucket === undefined) {
      this.#buckets.set(first, [element]); // most buckets have one element: V8 would allocate seventeen for the first push to an empty array
      return;
    }
    if (!(bucket instanceof Map) && bucket.length >= MAX_BUCKET_LENGTH) {
      bucket = new Map(bucket.map((one) => [this.#keyOf(one.payload, NOTHING), one]));
      this.#buckets.set(first, bucket);
    }
    if (bucket instanceof Map) bucket.set(this.#keyOf(payload, NOTHING), element);
    else bucket.push(element);
  }

  delete({ payload }: Element): void {
    const first = payload[this.#first];
    const bucket = this.#buckets.get(first);
    if (bucket instanceof Map) bucket.delete(this.#keyOf(payload, NOTHING));
    else if (bucket !== undefined) {
      const at = bucket.findIndex((one) => one.payload === payload);
      if (at >= 0) bucket.splice(at, 1);
    }
    if (bucket !== undefined && (bucket instanceof Map ? bucket.size : bucket.length) === 0)
      this.#buckets.delete(first);
  }

  #isEqual(known: Payload, payload: Payload, blank: Payload): boolean {
    // V8 would compile === for the type of the first event, and again for the next event's type.
    for (const field of this.#others) if (!Object.is(known[field], fieldOf(payload, blank, field))) return false;
    const { ExtraDetails: details } = payload;
    const { ExtraDetails: knownDetails } = known;
    if (details === undefined && knownDetails === undefined) return true;
    for (const name of this.#details) if (detail(knownDetails, name) !== detail(details, name)) return false;
    return true;
  }

  /** JSON, so that the fields are separated. An absent field differs from every text. */
  #keyOf(payload: Payload, blank: Payload): string {
    const { ExtraDetails: details } = payload;
    return JSON.stringify([
      ...this.#others.map((field) => fieldOf(payload, blank, field)),
      ...this.#details.map((name) => detail(details, name)),
    ]);
  }
}

/**
 * The common payload of occurrences equal to this one, without the fields in which they differ.
 *
 * @throws TypeError if it cannot be serialized as JSON
 */
export function blanked(rule: Aggregation<Payload>, payload: Payload): { payload: Payload; bytes: number } {
  const { ExtraDetails: details, ...fields } = payload;
  const alike: Record<string, unknown> = { ...fields, ...blankOf(rule.blank, payload) };
  for (const field in alike) if (alike[field] === null) delete alike[field];
  const kept = detailsOf(rule)
    .map((name) => [name, detail(details, name)])
    .filter(([, fact]) => fact !== undefined);
  if (kept.length > 0) alike.ExtraDetails = Object.fromEntries(kept);
  const json = JSON.stringify(alike);
  return { payload: JSON.parse(json) as Payload, bytes: Buffer.byteLength(json) };
}

const detailsOf = ({ details = [] }: Aggregation<Payload>) => [...details, ...MARKS];

const NOTHING: Payload = {};

const blankOf = (blank: Aggregation<Payload>['blank'], payload: Payload): Payload =>
  typeof blank === 'function' ? blank(payload) : blank;

/** A field's value in an element. */
function fieldOf(payload: Payload, blank: Payload, field: string): unknown {
  const instead = blank[field];
  return instead === undefined ? payload[field] : instead === null ? undefined : instead;
}

/** A text of ExtraDetails; `undefined` if it is absent. */
function detail(details: unknown, name: string): unknown {
  if (details === undefined) return undefined;
  const fact = (details as Payload)[name];
  return typeof fact === 'string' ? fact : undefined;
}
