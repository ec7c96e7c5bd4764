import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { AgentError } from '../../core/base/errors.ts';
import { printable, printableJson } from '../../core/base/text.ts';
import { UsageError } from '../../core/command-line/command.ts';
import { among, type Choice, chosenModules, countChosen, isModule, listsOf, source } from '../choice.ts';
import type { HubService, Row } from '../service.ts';
import { COLUMNS, type Column, stateOf, statusColumns } from './columns.ts';
import { describeReasons, REASON_FIELDS, reasonsOf, Tally } from './reasons.ts';
import { devices, type Task } from './task.ts';

/**
 * A line of comma-separated values (RFC 4180). Cells come from devices: a cell that a spreadsheet would interpret as a
 * formula is prefixed with an apostrophe.
 */
export const csvLine = (cells: readonly string[]): string => cells.map(cell).join(',');

function cell(text: string): string {
  const safe = /^[=+\-@\t\r]/.test(text) && !/^-?\d+(?:\.\d+)?$/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** Names of queries in config/queries.md for `vakt fleet status`: `--NAME` is in the line above the query there. */
export const QUERY_NAMES = ['degraded', 'paused', 'silent', 'alerts', 'outdated'] as const;
export type QueryName = (typeof QUERY_NAMES)[number];

/** The page that has the queries, from compiled code in dist/src/fleet/commands. */
const PAGE = fileURLToPath(new URL('../../../../config/queries.md', import.meta.url));

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

/** `status` shows all devices unless some are chosen. */
export const ALL: Choice = { kind: 'all' };

/** Prints a row for each chosen module, as the pages of the query's result come. */
export async function status(task: Task): Promise<number> {
  const { hub, choice, moduleId, values, world } = task;
  if (values.json === true && values.csv === true) throw new UsageError('--json and --csv exclude each other');
  const names = QUERY_NAMES.filter((name) => values[name] === true);
  const only = names.map((name) => `(${conditionNamed(name)})`).join(' OR ');
  const hasReasons = values.degraded === true;
  const columns = hasReasons ? COLUMNS_WITH_REASON : COLUMNS;
  const print = values.json === true ? asJson(hasReasons) : values.csv === true ? asCsv(columns) : asTable(columns);
  const states = new Tally();
  const reasons = new Tally();
  const shown = new Set<string>();
  let count = 0;
  const query = {
    ...{ choice, moduleId, only: only === '' ? undefined : only },
    columns: statusColumns(hasReasons ? REASON_FIELDS : {}),
  };
  for await (const rows of chosenModules(hub, query)) {
    for (const line of print(rows)) world.stdout(line);
    for (const row of rows) {
      states.add(stateOf(row));
      if (hasReasons) for (const { reason } of reasonsOf(row)) reasons.add(reason);
    }
    if (choice.kind === 'devices') for (const { deviceId } of rows) shown.add(String(deviceId));
    count += rows.length;
    await world.written?.(); // otherwise a slow reader would make all pages wait in memory
    world.signal.throwIfAborted();
  }
  if (count === 0 && values.csv === true) for (const line of print([])) world.stdout(line); // the header
  const unseen = choice.kind === 'devices' ? choice.ids.filter((id) => !shown.has(id)) : [];
  const isComplete = await nameMissing(task, unseen, names.length > 0);
  if (values.json === true || values.csv === true) return isComplete ? 0 : 1;
  const sum = states.entries.map(([state, number]) => `${number} ${printable(state)}`).join('; ');
  if (count > 0) world.stdout('');
  world.stdout(`${devices(count)}${sum === '' ? '' : `: ${sum}`}.`);
  if (reasons.entries.length > 0) world.stdout(`Reasons: ${describeReasons(reasons)}.`);
  if (choice.kind === 'all' && names.length === 0) await reportMissing(task, count);
  return isComplete ? 0 : 1;
}

/**
 * Names the devices of a list that do not exist, or that do not have the module.
 *
 * @param unseen listed devices without a row
 * @param isFiltered whether rows were filtered by state
 * @returns whether no device is missing
 */
async function nameMissing(
  { hub, moduleId, world }: Task,
  unseen: readonly string[],
  isFiltered: boolean,
): Promise<boolean> {
  const exist = await deviceIdsAmong(hub, 'devices', unseen, undefined);
  const haveModule = isFiltered ? await deviceIdsAmong(hub, 'devices.modules', unseen, isModule(moduleId)) : new Set();
  const missing = unseen.filter((id) => !haveModule.has(id));
  for (const id of missing) {
    const problem = exist.has(id) ? `device "${id}" has no module ${moduleId}` : `there is no device "${id}"`;
    world.stderr(printable(problem));
  }
  return missing.length === 0;
}

async function deviceIdsAmong(
  hub: HubService,
  from: Parameters<typeof source>[0],
  ids: readonly string[],
  condition: string | undefined,
): Promise<ReadonlySet<string>> {
  const found = new Set<string>();
  for (const list of listsOf(ids))
    for await (const rows of hub.query(`SELECT deviceId FROM ${source(from, [condition, among(list)])}`))
      for (const { deviceId } of rows) found.add(String(deviceId));
  return found;
}

/** Counts devices without the module, which have no row. */
async function reportMissing({ hub, moduleId, world }: Task, withModule: number): Promise<void> {
  const missing = (await countChosen(hub, ALL)) - withModule;
  if (missing > 0)
    world.stdout(`${devices(missing)} without the module ${moduleId}: "vakt fleet create --all" creates it.`);
}

type Printer = (rows: readonly Row[]) => string[];

/** With `reasons` in place of the columns that they are derived from, which have several KB a device. */
const asJson =
  (hasReasons: boolean): Printer =>
  (rows) =>
    rows.map((row) => printableJson(JSON.stringify(hasReasons ? withReasons(row) : row)));

function withReasons(row: Row): Row {
  const own = Object.entries(row).filter(([name]) => !Object.hasOwn(REASON_FIELDS, name));
  return { ...Object.fromEntries(own), reasons: reasonsOf(row) };
}

const reasonCell = (row: Row) =>
  reasonsOf(row)
    .map(({ reason }) => reason)
    .join(', ');

/** REASON comes before FAULTS, whose cells are the longest. */
const COLUMNS_WITH_REASON: readonly Column[] = COLUMNS.toSpliced(-1, 0, { name: 'REASON', show: reasonCell });

const cellsOf = (row: Row, columns: readonly Column[]) => columns.map(({ show }) => show(row));

function asCsv(columns: readonly Column[]): Printer {
  let heads: readonly string[][] = [columns.map(({ name }) => name)];
  return (rows) => {
    const lines = [...heads, ...rows.map((row) => cellsOf(row, columns))].map((cells) => printable(csvLine(cells)));
    heads = [];
    return lines;
  };
}

/** Columns are as wide as the first page needs, so that no rows are stored. */
function asTable(columns: readonly Column[]): Printer {
  let widths: readonly number[] | undefined;
  return (rows) => {
    const cells = rows.map((row) => cellsOf(row, columns).map(printable));
    const heads = columns.map(({ name }) => name);
    const lines = widths === undefined ? [heads, ...cells] : cells;
    widths ??= heads.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
    return lines.map((line) =>
      line
        .map((cell, column) => (column === line.length - 1 ? cell : cell.padEnd(widths?.[column] ?? 0)))
        .join('  ')
        .trimEnd(),
    );
  };
}
