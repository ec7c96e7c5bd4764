import { UsageError } from '../../../core/command-line/command.ts';
import { didYouMean } from '../../../core/command-line/did-you-mean.ts';
import type { Payload } from '../../../core/contract/event.ts';

export interface Filter {
  /** Whether an element is to be shown. */
  readonly passes: (element: Payload) => boolean;
  /** The fields that it looks at. */
  readonly fields: readonly string[];
}

/**
 * Reads `--filter`: `FIELD=TEXT` or `FIELD~TEXT`, for a field of the element or of its ExtraDetails. An element without the
 * field doesn't pass.
 *
 * @param given all must hold
 * @throws {UsageError}
 */
export function filterOption(given: readonly string[]): Filter {
  const conditions = given.map(condition);
  return {
    passes: (element) => conditions.every(({ holds }) => holds(element)),
    fields: conditions.map(({ field }) => field),
  };
}

/** A sentence for each field of a filter that no element has: its name may be misspelt. */
export function unknownFields({ fields }: Filter, elements: readonly Payload[]): string[] {
  if (elements.length === 0) return [];
  const known = [
    ...new Set(elements.flatMap((element) => [...Object.keys(element), ...Object.keys(detailsOf(element))])),
  ];
  const unknown = fields.filter((field) => !known.includes(field));
  return unknown.map((field) => `no element has a field "${field}"${didYouMean(field, known)}`);
}

interface Condition {
  readonly field: string;
  readonly holds: (element: Payload) => boolean;
}

function condition(given: string): Condition {
  const [, field = '', sign, text = ''] = /^([A-Za-z0-9]+)([=~])(.*)$/s.exec(given) ?? [];
  if (field === '') throw new UsageError(`--filter takes FIELD=TEXT or FIELD~TEXT, not "${given}"`);
  const holds = (element: Payload) => {
    const value = valueIn(element, field);
    if (value === undefined) return false;
    return sign === '=' ? value === text : value.includes(text);
  };
  return { field, holds };
}

function valueIn(element: Payload, field: string): string | undefined {
  for (const from of [element, detailsOf(element)]) if (Object.hasOwn(from, field)) return String(from[field]);
  return undefined;
}

const detailsOf = (element: Payload) => (element.ExtraDetails ?? {}) as Readonly<Record<string, unknown>>;
