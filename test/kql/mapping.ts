import type { Pack } from './kusto.ts';

/* What Azure Data Explorer does with a JSON record and an ingestion mapping, as far as those of config/kql/ need it. */

interface Mapped {
  readonly Column: string;
  readonly Properties: { readonly Path: string };
}

export type Row = Readonly<Record<string, unknown>>;

export const columnsOf = ({ table }: Pack): ReadonlyMap<string, string> =>
  new Map([...table.columns.matchAll(/(\w+): (\w+)/g)].map(([, name = '', type = '']) => [name, type]));

export function mappingNamed(pack: Pack, name: string): readonly Mapped[] {
  const found = pack.mappings.find((mapping) => mapping.name === name);
  if (found === undefined) throw new Error(`config/kql/setup.kql has no mapping ${name}`);
  return JSON.parse(found.text) as Mapped[];
}

/** The member of a record that a path names: `$.a.b`, whose names may have hyphens. */
export function valueAt(record: unknown, path: string): unknown {
  const [root, ...names] = path.split('.');
  if (root !== '$') throw new Error(`${path} is no path`);
  return names.reduce<unknown>(
    (value, name) => (typeof value === 'object' && value !== null ? (value as Row)[name] : undefined),
    record,
  );
}

/** The row that a record becomes: what is absent is null, or an empty string. */
export function ingest(pack: Pack, mapping: readonly Mapped[], record: unknown): Row {
  const paths = new Map(mapping.map(({ Column, Properties }) => [Column, Properties.Path]));
  return Object.fromEntries(
    [...columnsOf(pack)].map(([name, type]) => {
      const path = paths.get(name);
      return [name, converted(path === undefined ? undefined : valueAt(record, path), type)];
    }),
  );
}

function converted(value: unknown, type: string): unknown {
  if (type === 'string') return value === undefined || value === null ? '' : String(value);
  if (value === undefined || value === null) return null;
  switch (type) {
    case 'dynamic':
      return value;
    case 'long': {
      const number = Number(value);
      return Number.isSafeInteger(number) ? number : null;
    }
    case 'datetime': {
      const time = new Date(String(value));
      return Number.isNaN(time.getTime()) ? null : time;
    }
    default:
      throw new Error(`a column of the type ${type} is new here`);
  }
}
