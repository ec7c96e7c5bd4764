import type { QueryDocument } from './documents.ts';
import { compileCondition, valueAt } from './evaluate.ts';
import type { Column, Query } from './parse.ts';

/** A part of a query's result. */
export interface Page {
  readonly rows: readonly unknown[];
  /** Number of documents examined so far; omitted after the last one. */
  readonly next?: number;
}

/**
 * Runs a query over documents.
 *
 * @param from number of documents that earlier pages have examined
 * @param limit maximum number of rows; groups are always on one page
 */
export function runQuery(
  { columns, where, groupBy }: Query,
  documents: Iterable<QueryDocument>,
  { from, limit }: { readonly from: number; readonly limit: number },
): Page {
  const selects = compileCondition(where);
  if (columns !== 'all' && (groupBy.length > 0 || columns.some(({ value }) => value === 'count')))
    return { rows: grouped(columns, documents, selects) };
  const rows: unknown[] = [];
  let looked = 0;
  for (const document of documents) {
    looked += 1;
    if (looked <= from || !selects(document)) continue;
    rows.push(columns === 'all' ? document.whole() : projected(columns, document));
    if (rows.length === limit) return { rows, next: looked };
  }
  return { rows };
}

/** Omits undefined values. */
function projected(columns: readonly Column[], document: QueryDocument): Record<string, unknown> {
  const members = columns.map(({ name, value }) => [name, value === 'count' ? undefined : valueAt(document, value)]);
  return Object.fromEntries(members.filter(([, value]) => value !== undefined));
}

function grouped(
  columns: readonly Column[],
  documents: Iterable<QueryDocument>,
  selects: (document: QueryDocument) => boolean,
): Record<string, unknown>[] {
  const groups = new Map<string, { values: Record<string, unknown>; count: number }>();
  for (const document of documents) {
    if (!selects(document)) continue;
    const values = projected(columns, document);
    const group = groups.get(JSON.stringify(values)) ?? { values, count: 0 };
    group.count += 1;
    groups.set(JSON.stringify(values), group);
  }
  const isOne = columns.every(({ value }) => value === 'count');
  if (groups.size === 0 && isOne) groups.set('', { values: {}, count: 0 });
  return [...groups.values()].map(({ values, count }) => ({
    ...values,
    ...Object.fromEntries(columns.filter(({ value }) => value === 'count').map(({ name }) => [name, count])),
  }));
}
