import type { Spelling } from '../../core/contract/setting-kinds.ts';
import type { SettingRow } from '../../core/contract/settings.ts';
import type { TwinReading } from '../../core/twin/twin.ts';

/** What a desired configuration has changed. */
export interface ConfigurationChange {
  readonly time: Date;
  readonly desiredVersion: number;
  /** Keyed by property name: `Low to Off`. */
  readonly changes: Readonly<Record<string, string>>;
}

type Applied = Extract<TwinReading, { ok: true }>;

/** In characters. */
const LONGEST_VALUE = 64;
/** Limit for the entries of a list: a change that disables rules must not hide some of them among others. */
const LONGEST_LIST = 512;

/**
 * Differences between two applied configurations. Another spelling of the same value is not a change.
 *
 * @returns `undefined` when nothing does
 */
export function changesBetween(
  before: Applied,
  now: Applied,
  properties: readonly SettingRow[],
  about: { readonly time: Date; readonly desiredVersion: number },
): ConfigurationChange | undefined {
  const changed = properties.filter(({ id }) => !isSame(before.values.get(id), now.values.get(id)));
  if (changed.length === 0) return undefined;
  const changes = changed.map(({ id, name }) => {
    const [was, is] = [before.values.get(id), now.values.get(id)];
    const text = Array.isArray(was) && Array.isArray(is) ? listChange(was, is) : undefined;
    return [name, text ?? `${shown(before.spellings.get(id))} to ${shown(now.spellings.get(id))}`] as const;
  });
  return { ...about, changes: Object.fromEntries(changes) };
}

/** `added a,b, removed c`; `undefined` if only the order differs. */
function listChange(was: readonly string[], is: readonly string[]): string | undefined {
  const without = (list: readonly string[], other: readonly string[]) => list.filter((entry) => !other.includes(entry));
  const parts = Object.entries({ added: without(is, was), removed: without(was, is) })
    .filter(([, entries]) => entries.length > 0)
    .map(([what, entries]) => `${what} ${shortened(entries.join(','), LONGEST_LIST)}`);
  return parts.length === 0 ? undefined : parts.join(', ');
}

const isSame = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);

function shown(spelling: Spelling | undefined): string {
  if (spelling === undefined || spelling === '') return 'nothing';
  const text = typeof spelling === 'object' ? JSON.stringify(spelling) : String(spelling);
  return shortened(text, LONGEST_VALUE);
}

const shortened = (text: string, longest: number) => (text.length > longest ? `${text.slice(0, longest)}…` : text);
