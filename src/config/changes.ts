import type { TwinReading } from './twin.ts';

/** What a desired configuration has changed. */
export interface ConfigurationChange {
  readonly time: Date;
  readonly desiredVersion: number;
  /** By property: `Low to Off`. */
  readonly changes: Readonly<Record<string, string>>;
}

type Obeyed = Extract<TwinReading, { ok: true }>;

/** A list of rules can be long; its beginning is enough to recognize it. */
const LONGEST_VALUE = 64;

/**
 * What differs between two configurations in force. Another spelling of the same value is no change.
 *
 * @returns `undefined` when nothing does
 */
export function changesBetween(
  before: Obeyed,
  now: Obeyed,
  about: { readonly time: Date; readonly desiredVersion: number },
): ConfigurationChange | undefined {
  const names = [...now.values.keys()].filter((name) => !isSame(before.values.get(name), now.values.get(name)));
  if (names.length === 0) return undefined;
  const values = names.map((name) => [name, `${shown(before, name)} to ${shown(now, name)}`] as const);
  return { ...about, changes: Object.fromEntries(values) };
}

const isSame = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);

function shown({ mirror }: Obeyed, name: string): string {
  const value = mirror[name]?.value;
  const text = value === undefined || value === '' ? 'nothing' : String(value);
  return text.length > LONGEST_VALUE ? `${text.slice(0, LONGEST_VALUE)}…` : text;
}
