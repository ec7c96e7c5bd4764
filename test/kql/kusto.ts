import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

/* Microsoft's own parser of the Kusto query language, @kusto/language-service-next, with the table and the functions of
 * config/kql/. Its type declarations are namespaces of globals, so that only what is used here is declared. */

export const FOLDER = 'config/kql';

/** A list of the .NET library that the parser was compiled from. */
interface List<T> {
  readonly Count: number;
  getItem(index: number): T;
}

interface Diagnostic {
  readonly Severity: string;
  readonly Code: string;
  readonly Message: string;
  readonly Start: number;
}

export interface Syntax {
  readonly TextStart: number;
  readonly Width: number;
  readonly ReferencedSymbol: { readonly Name: string } | null;
  readonly ChildCount: number;
  GetChild(index: number): Syntax | null;
  toString(): string;
}

export interface Code {
  readonly Kind: string;
  readonly Syntax: Syntax;
  GetDiagnostics(): List<Diagnostic>;
}

interface Globals {
  WithDatabase(database: object): Globals;
}

interface KustoLanguage {
  readonly KustoCode: { ParseAndAnalyze(text: string, globals: Globals): Code };
  readonly GlobalState: { readonly Default: Globals };
  readonly Syntax: { readonly NameReference: abstract new () => Syntax };
  readonly Symbols: {
    readonly ColumnSymbol: abstract new () => { readonly Name: string };
    readonly TableSymbol: { readonly $ctor7: new (name: string, schema: string, description: null) => object };
    readonly FunctionSymbol: {
      readonly $ctor16: new (name: string, parameters: string, body: string, description: null) => object;
    };
    readonly DatabaseSymbol: {
      readonly $ctor1: new (name: string, members: readonly object[], isOpen: false) => object;
    };
  };
}

const require = createRequire(import.meta.url);
require('@kusto/language-service-next/bridge.min.js');
require('@kusto/language-service-next/Kusto.Language.Bridge.min.js');
const { Language } = (globalThis as unknown as { Kusto: { Language: KustoLanguage } }).Kusto;

/** The pack, with the names declared in setup.kql. */
export interface Pack {
  readonly setup: string;
  readonly table: { readonly name: string; readonly columns: string };
  readonly functions: readonly { readonly name: string; readonly parameters: string; readonly body: string }[];
  readonly mappings: readonly { readonly name: string; readonly text: string }[];
  /** Queries, keyed by file name. */
  readonly queries: ReadonlyMap<string, string>;
}

export function readPack(folder = FOLDER): Pack {
  const setup = readFileSync(join(folder, 'setup.kql'), 'utf8');
  const [, name = '', columns = ''] = /^\.create-merge table (\w+) (\([^)]*\)) with/m.exec(setup) ?? [];
  const functions = [
    ...setup.matchAll(/^\.create-or-alter function with \(.*\)\n(\w+)(\(.*\))\n(\{\n[\s\S]*?\n\})$/gm),
  ].map(([, functionName = '', parameters = '', body = '']) => ({ name: functionName, parameters, body }));
  const mappings = [
    ...setup.matchAll(/^\.create-or-alter table \w+ ingestion json mapping "(\w+)"\n```\n([\s\S]*?)\n```$/gm),
  ].map(([, mappingName = '', text = '']) => ({ name: mappingName, text }));
  const files = readdirSync(join(folder, 'hunting')).sort();
  const queries = new Map(files.map((file) => [file, readFileSync(join(folder, 'hunting', file), 'utf8')]));
  return { setup, table: { name, columns }, functions, mappings, queries };
}

/** A database with the table of the pack, and its first functions: all, unless fewer are asked for. */
export function databaseOf({ table, functions }: Pack, functionCount = functions.length): Globals {
  const { TableSymbol, FunctionSymbol, DatabaseSymbol } = Language.Symbols;
  const members = [
    new TableSymbol.$ctor7(table.name, table.columns, null),
    ...functions
      .slice(0, functionCount)
      .map(({ name, parameters, body }) => new FunctionSymbol.$ctor16(name, parameters, body, null)),
  ];
  return Language.GlobalState.Default.WithDatabase(new DatabaseSymbol.$ctor1('fleet', members, false));
}

export const parse = (text: string, database: Globals): Code => Language.KustoCode.ParseAndAnalyze(text, database);

/** The parser's diagnostics, including warnings and hints, one per line. */
export function faultsOf(code: Code, text: string): string[] {
  const diagnostics = code.GetDiagnostics();
  return Array.from({ length: diagnostics.Count }, (_, index) => {
    const { Severity, Code: id, Message, Start } = diagnostics.getItem(index);
    const line = text.slice(0, Start).split('\n').length;
    return `line ${line}: ${Severity} ${id}: ${Message}`;
  });
}

/** Every node of the syntax tree, the root first. */
export function* nodesOf(node: Syntax): Generator<Syntax> {
  yield node;
  for (let index = 0; index < node.ChildCount; index += 1) {
    const child = node.GetChild(index);
    if (child !== null) yield* nodesOf(child);
  }
}

/** The class of a node, such as `FilterOperator`. */
export const kindOf = (node: Syntax): string =>
  String((node.constructor as { $$fullname?: unknown }).$$fullname)
    .split('.')
    .at(-1) ?? '';

/** The name of the column that a node refers to; `undefined` if it is anything else, such as the declaration of one. */
export function columnReferredTo(node: Syntax): string | undefined {
  const symbol = node.ReferencedSymbol;
  const isReference = node instanceof Language.Syntax.NameReference && symbol instanceof Language.Symbols.ColumnSymbol;
  return isReference ? symbol.Name : undefined;
}
