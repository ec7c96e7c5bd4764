import type { Payload } from '../../contract/event.ts';
import { UsageError } from '../command.ts';

/** Whether an element is to be shown. */
export type Filter = (element: Payload) => boolean;

/**
 * Reads `--filter`: `FIELD=TEXT` or `FIELD~TEXT`, for a field of the element or of its ExtraDetails. An element without the
 * field doesn't pass.
 *
 * @param given all must hold
 * @throws {UsageError}
 */
export function filterOption(given: readonly string[]): Filter {
  const conditions = given.map(condition);
  return (element) => conditions.every((holds) => holds(element));
}

function condition(given: string): Filter {
  const [, field = '', sign, text = ''] = /^([A-Za-z0-9]+)([=~])(.*)$/s.exec(given) ?? [];
  if (field === '') throw new UsageError(`--filter takes FIELD=TEXT or FIELD~TEXT, not "${given}"`);
  return (element) => {
    const value = valueIn(element, field);
    if (value === undefined) return false;
    return sign === '=' ? value === text : value.includes(text);
  };
}

function valueIn(element: Payload, field: string): string | undefined {
  const details = (element.ExtraDetails ?? {}) as Readonly<Record<string, unknown>>;
  for (const from of [element, details]) if (Object.hasOwn(from, field)) return String(from[field]);
  return undefined;
}
