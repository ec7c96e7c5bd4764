import { endianness } from 'node:os';
import type { LiteralTables } from './literals.ts';

/**
 * Selects candidates among the rules on one source, by number, and the expressions that must be evaluated. It can be precomputed,
 * because it is independent of the device.
 */
export interface Selection {
  /** The fields that the rules read; their indexes are the slots of the tables. */
  readonly fields: readonly string[];
  readonly tables: SelectionTables;
  /** Whether a rule searches all fields. */
  readonly hasKeywords?: true;
}

export interface SelectionTables extends LiteralTables {
  /** Rules without a literal, which are always candidates. */
  readonly always: Uint32Array;
  /** The first gate of each rule's expressions; the last entry is the number of all gates. */
  readonly firstGates: Uint32Array;
}

/** The stored form. */
export interface SelectionJson {
  readonly fields: readonly string[];
  readonly hasKeywords?: true;
  /** Keyed by name: the bytes per number, and all numbers in base64, little-endian. */
  readonly tables: Readonly<Record<string, readonly [bytes: number, base64: string]>>;
}

type Numbers = Uint8Array | Uint16Array | Uint32Array;
type Form<T extends Numbers> = { new (buffer: ArrayBuffer): T; from(numbers: Iterable<number>): T };

const FORMS: { readonly [K in keyof SelectionTables]: Form<SelectionTables[K]> } = {
  classes: Uint8Array,
  kinds: Uint8Array,
  followers: Uint16Array,
  rows: Uint16Array,
  row: Uint16Array,
  fails: Uint16Array,
  reports: Uint16Array,
  next: Uint16Array,
  ends: Uint32Array,
  found: Uint32Array,
  slots: Uint16Array,
  opens: Uint32Array,
  gates: Uint32Array,
  open: Uint32Array,
  selects: Uint32Array,
  rules: Uint32Array,
  always: Uint32Array,
  firstGates: Uint32Array,
};

/** Whether this CPU has the byte order of the stored form. */
export const CAN_READ = endianness() === 'LE';

const WIDTHS: Readonly<Record<number, Form<Numbers>>> = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array };

export const toJson = ({ tables, ...others }: Selection): SelectionJson => ({
  ...others,
  tables: Object.fromEntries(Object.entries<Numbers>({ ...tables }).map(([name, table]) => [name, narrow(table)])),
});

function narrow(table: Numbers): readonly [number, string] {
  let most = 0;
  for (const number of table) most = Math.max(most, number);
  const width = most < 1 << 8 ? 1 : most < 1 << 16 ? 2 : 4;
  return [width, Buffer.from((WIDTHS[width] as Form<Numbers>).from(table).buffer).toString('base64')];
}

export function fromJson({ tables, fields, hasKeywords }: SelectionJson): Selection {
  const numbersOf = Object.entries<Form<Numbers>>(FORMS).map(([name, form]) => {
    const [width = 1, base64 = ''] = tables[name] ?? [];
    const { buffer, byteOffset, length } = Buffer.from(base64, 'base64');
    const Stored = WIDTHS[width] as Form<Numbers>;
    const numbers = new Stored(buffer.slice(byteOffset, byteOffset + length) as ArrayBuffer);
    return [name, numbers instanceof form ? numbers : form.from(numbers)];
  });
  const read = Object.fromEntries(numbersOf) as SelectionTables;
  return { fields, tables: read, ...(hasKeywords === undefined ? {} : { hasKeywords }) };
}
