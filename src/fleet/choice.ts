import type { HubService, Row } from './service.ts';

/** The devices that a command applies to. */
export type Choice =
  | { readonly kind: 'all' }
  /** A condition in the hub's query language. */
  | { readonly kind: 'where'; readonly condition: string }
  | { readonly kind: 'devices'; readonly ids: readonly string[] };

/** The hub refuses queries of more than 8192 characters; space is left for the rest of a query. */
const LONGEST_LIST = 6_000;

/** A string constant of the query language. */
export const literal = (text: string): string => `'${text.replace(/[\\']/g, (char) => `\\${char}`)}'`;

/** Splits device ids into lists that fit into a query. */
export function* listsOf(ids: readonly string[]): Generator<readonly string[]> {
  let list: string[] = [];
  let length = 0;
  for (const id of ids) {
    if (length + literal(id).length > LONGEST_LIST) {
      yield list;
      list = [];
      length = 0;
    }
    list.push(id);
    length += literal(id).length + 2;
  }
  if (list.length > 0) yield list;
}

/** `deviceId IN ['a', 'b']` */
export const among = (ids: readonly string[]): string => `deviceId IN [${ids.map(literal).join(', ')}]`;

/** The conditions, one per query: a long list of devices needs several. */
export function* conditionsOf(choice: Choice): Generator<string | undefined> {
  if (choice.kind === 'all') yield undefined;
  else if (choice.kind === 'where') yield choice.condition;
  else for (const list of listsOf(choice.ids)) yield among(list);
}

/** `devices WHERE …` or `devices.modules WHERE …`; every condition must hold. */
export function source(from: 'devices' | 'devices.modules', conditions: readonly (string | undefined)[]): string {
  const stated = conditions.filter((condition) => condition !== undefined);
  return stated.length === 0 ? from : `${from} WHERE ${stated.map((condition) => `(${condition})`).join(' AND ')}`;
}

export const isModule = (moduleId: string): string => `moduleId = ${literal(moduleId)}`;

/** Pages of device ids: listed ids as given, all others as the hub returns them. */
export async function* chosenDevices(hub: HubService, choice: Choice): AsyncGenerator<readonly string[]> {
  if (choice.kind === 'devices') {
    yield* listsOf(choice.ids);
    return;
  }
  for (const condition of conditionsOf(choice))
    for await (const rows of hub.query(`SELECT deviceId FROM ${source('devices', [condition])}`))
      yield rows.map(({ deviceId }) => String(deviceId));
}

/** Pages of rows about the module of each chosen device that has it. @param columns columns to select, including `deviceId` */
export async function* chosenModules(
  hub: HubService,
  { choice, moduleId, columns, only }: { choice: Choice; moduleId: string; columns: string; only?: string | undefined },
): AsyncGenerator<readonly Row[]> {
  for (const condition of conditionsOf(choice))
    yield* hub.query(`SELECT ${columns} FROM ${source('devices.modules', [isModule(moduleId), condition, only])}`);
}

/** Number of chosen devices, according to the hub. */
export async function countChosen(hub: HubService, choice: Choice, moduleId?: string): Promise<number> {
  if (choice.kind === 'devices') return choice.ids.length;
  let count = 0;
  for (const condition of conditionsOf(choice)) {
    count += await hub.count(
      moduleId === undefined
        ? source('devices', [condition])
        : source('devices.modules', [isModule(moduleId), condition]),
    );
  }
  return count;
}
