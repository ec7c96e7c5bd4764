import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { AgentError } from '../core/base/errors.ts';

/** Names of queries in config/queries.md for `vakt fleet status`: `--NAME` is in the line above the query there. */
export const QUERY_NAMES = ['degraded', 'paused', 'silent', 'alerts', 'outdated'] as const;
export type QueryName = (typeof QUERY_NAMES)[number];

/** The page that has the queries, from compiled code in dist/src/fleet. */
const PAGE = fileURLToPath(new URL('../../../config/queries.md', import.meta.url));

/** The page's condition on the module, which the command replaces with its own. */
const MODULE = /moduleId = 'azureiotsecurity'\s+AND\s+/;

/** Every query of the page, with the text above it. */
export function documentedQueries(
  page = readFileSync(PAGE, 'utf8'),
): { readonly about: string; readonly sql: string }[] {
  return [...page.matchAll(/([^\n]*)\n\n```sql\n([\s\S]*?)\n```/g)].map(([, about = '', sql = '']) => ({ about, sql }));
}

/** The condition of a query by its name, without the one that names the module. @throws AgentError INTERNAL */
export function conditionNamed(name: QueryName): string {
  const sql = documentedQueries().find(({ about }) => about.includes(`\`--${name}\``))?.sql;
  const condition = sql
    ?.split(/\bWHERE\b/)[1]
    ?.replace(MODULE, '')
    .trim();
  if (condition === undefined || /\bGROUP BY\b/.test(condition)) {
    const remedy = 'Check out config/queries.md again: the command reads its queries from there.';
    throw new AgentError('INTERNAL', `config/queries.md has no query for --${name}`, remedy);
  }
  return condition;
}
