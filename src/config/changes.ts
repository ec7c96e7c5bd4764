import type { Spelling } from '../contract/setting-kinds.ts';
import type { Property } from './dialect.ts';
import type { TwinReading } from './twin.ts';

/** What a desired configuration has changed. */
export interface ConfigurationChange {
  readonly time: Date;
  readonly desiredVersion: number;
  /** By the name of the property: `Low to Off`. */
  readonly changes: Readonly<Record<string, string>>;
}

type Applied = Extract<TwinReading, { ok: true }>;

/** Characters. A list of rules can be long; its beginning is enough to recognize it. */
const LONGEST_VALUE = 64;

/**
 * What differs between two configurations in force. Another spelling of the same value is no change.
 *
 * @returns `undefined` when nothing does
 */
export function changesBetween(
  before: Applied,
  now: Applied,
  properties: readonly Property[],
  about: { readonly time: Date; readonly desiredVersion: number },
): ConfigurationChange | undefined {
  const changed = properties.filter(({ id }) => !isSame(before.values.get(id), now.values.get(id)));
  if (changed.length === 0) return undefined;
  const changes = changed.map(({ id, name }) => {
    const was = shown(before.spellings.get(id));
    return [name, `${was} to ${shown(now.spellings.get(id))}`] as const;
  });
  return { ...about, changes: Object.fromEntries(changes) };
}

const isSame = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);

function shown(spelling: Spelling | undefined): string {
  if (spelling === undefined || spelling === '') return 'nothing';
  const text = typeof spelling === 'object' ? JSON.stringify(spelling) : String(spelling);
  return text.length > LONGEST_VALUE ? `${text.slice(0, LONGEST_VALUE)}…` : text;
}
