import { type Fleet, type QueryFunction, run } from './interpreter.ts';
import { databaseOf, kindOf, nodesOf, type Pack, parse } from './kusto.ts';
import type { Row } from './mapping.ts';

/** Runs queries of the pack over rows of its table. */
export class FleetDatabase {
  readonly #fleet: Fleet;
  readonly #database;

  /** @param now the time at which the queries are asked */
  constructor(pack: Pack, rows: readonly Row[], now: Date) {
    this.#database = databaseOf(pack);
    const functions = pack.functions.map(({ name, parameters, body }) => [
      name,
      { parameters: parametersOf(parameters, this.#database), body: this.#parsed(body.slice(1, -1)) },
    ]);
    this.#fleet = {
      tables: new Map([[pack.table.name, rows]]),
      functions: new Map(functions as [string, QueryFunction][]),
      now,
    };
  }

  ask(query: string): readonly Row[] {
    return run(this.#parsed(query), this.#fleet);
  }

  #parsed(query: string) {
    return parse(query, this.#database).Syntax;
  }
}

/** The parameters of a function with the literals that they are preset to; 0d for one that is always given. */
function parametersOf(text: string, database: ReturnType<typeof databaseOf>): QueryFunction['parameters'] {
  return [...text.matchAll(/(\w+): \w+(?: = ([^,)]+))?/g)].map(([, name = '', value = '0d']) => {
    const { Syntax: root } = parse(`print ${value}`, database);
    const preset = [...nodesOf(root)].find((node) => kindOf(node) === 'LiteralExpression');
    return { name, preset };
  });
}
