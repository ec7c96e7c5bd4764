import { createHash } from 'node:crypto';
import { isPlainObject } from '../core/base/values.ts';
import { QueryDocument } from './query/documents.ts';
import { parseQuery, type Query, QueryError } from './query/parse.ts';
import { runQuery } from './query/run.ts';
import type { RestAnswer, RestCall, RestModules, RestRoute } from './rest-call.ts';
import { RestError } from './rest-errors.ts';

/** Rows of a page. Source: "Devices - Query". */
const USUAL_ROWS = 100;
const MAX_ROWS = 1_000;

/** Source: "IoT Hub REST API", Query. */
export const QUERY_ROUTES: readonly RestRoute[] = [
  { method: 'POST', path: '/devices/query', right: 'ServiceConnect', run: answerQuery },
];

async function answerQuery({ hub, header, body }: RestCall): Promise<RestAnswer> {
  const wanted = await body();
  const text = isPlainObject(wanted) ? wanted.query : undefined;
  if (typeof text !== 'string') throw new RestError(400004, 'The body has no "query".');
  const query = parsed(text);
  const limit = Number(header('x-ms-max-item-count') ?? USUAL_ROWS);
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_ROWS)
    throw new RestError(400004, `x-ms-max-item-count must be from 1 to ${MAX_ROWS}.`);
  const from = positionIn(header('x-ms-continuation'), text);
  const { rows, next } = runQuery(query, documentsOf(hub, query.from), { from, limit });
  return {
    status: 200,
    body: rows,
    headers: {
      'x-ms-item-type': query.columns === 'all' ? 'Twin' : 'Raw',
      ...(next === undefined ? {} : { 'x-ms-continuation': continuation(next, text) }),
    },
  };
}

/** @throws RestError 400004 */
function parsed(text: string): Query {
  try {
    return parseQuery(text);
  } catch (error) {
    if (error instanceof QueryError) throw new RestError(400004, error.message);
    throw error;
  }
}

function* documentsOf({ registry, isConnected }: RestModules, from: Query['from']): Generator<QueryDocument> {
  if (from === 'devices') {
    for (const { device, twin } of registry.deviceTwins()) yield new QueryDocument(device, twin, () => false);
  } else {
    for (const { module, twin } of registry.moduleTwins())
      yield new QueryDocument(module, twin, () => isConnected(module));
  }
}

/*
 * A continuation token has a position in the order of registration, and the query that it belongs to. No state is kept for
 * it: removals in the meantime make the next page start later; a hub's results are not exact either.
 */

const digestOf = (query: string) => createHash('sha256').update(query).digest('base64url').slice(0, 22);

const continuation = (position: number, query: string) =>
  Buffer.from(`${digestOf(query)}.${position}`).toString('base64url');

/** @throws RestError 400004 if it is not a token of this query */
function positionIn(token: string | undefined, query: string): number {
  if (token === undefined) return 0;
  const [digest, position] = Buffer.from(token, 'base64url').toString().split('.');
  if (digest !== digestOf(query) || !/^\d{1,10}$/.test(position ?? ''))
    throw new RestError(400004, 'The continuation token is not one of this query.');
  return Number(position);
}
