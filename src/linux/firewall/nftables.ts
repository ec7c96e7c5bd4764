import { ExpressionWriter, get, listOf, nameOf, onlyProperty, setSummary } from './nft-expression.ts';
import { rulesOf, type Sets } from './nft-rule.ts';
import { cut } from './rule-draft.ts';
import type { ChainDraft, Table } from './ruleset.ts';

/* Reads the output of `nft -j list ruleset`: libnftables-json(5). */

/**
 * The tables of nftables, in the order in which nft lists them.
 *
 * Objects other than tables, chains, sets, maps and rules are skipped; within a rule nothing is skipped (see RuleDraft).
 *
 * @param json the output of nft
 * @param terse whether the content of named sets was left out (`-t`)
 * @throws SyntaxError when it is not JSON, or not nft's
 */
export function parseNftables(json: string, { terse = false } = {}): Table[] {
  const objects = get(JSON.parse(json), 'nftables');
  if (!Array.isArray(objects)) throw new SyntaxError('nft wrote JSON without a member "nftables"');
  const tables = new Tables(terse);
  const rules: unknown[] = [];
  // A rule may mention a set that is listed after it.
  for (const object of objects) {
    const { name, value } = onlyProperty(object) ?? {};
    if (name === 'table') tables.of(get(value, 'family'), get(value, 'name')).flags(get(value, 'flags'));
    else if (name === 'chain') tables.of(get(value, 'family'), get(value, 'table')).chain(value);
    else if (name === 'set' || name === 'map') tables.of(get(value, 'family'), get(value, 'table')).set(value);
    else if (name === 'rule') rules.push(value);
  }
  for (const rule of rules) tables.of(get(rule, 'family'), get(rule, 'table')).rule(rule);
  return tables.all();
}

class Tables {
  readonly #tables = new Map<string, NftTable>();
  readonly #terse: boolean;

  constructor(terse: boolean) {
    this.#terse = terse;
  }

  of(family: unknown, name: unknown): NftTable {
    const key = JSON.stringify([nameOf(family), nameOf(name)]);
    const known = this.#tables.get(key);
    if (known !== undefined) return known;
    const table = new NftTable(nameOf(family), nameOf(name), this.#terse);
    this.#tables.set(key, table);
    return table;
  }

  all = (): Table[] => [...this.#tables.values()].map((table) => table.finish());
}

class NftTable implements Sets {
  readonly #family: string;
  readonly #name: string;
  readonly #terse: boolean;
  readonly #chains = new Map<string, ChainDraft>();
  readonly #sets = new Map<string, readonly unknown[] | undefined>();
  readonly #summaries = new Map<string, string>();
  #dormant = false;

  constructor(family: string, name: string, terse: boolean) {
    this.#family = family;
    this.#name = name;
    this.#terse = terse;
  }

  flags(flags: unknown): void {
    if (listOf(flags).includes('dormant')) this.#dormant = true;
  }

  chain(value: unknown): void {
    const hook = get(value, 'hook');
    const chain = this.#chain(get(value, 'name'));
    if (typeof hook !== 'string') return;
    const writer = new ExpressionWriter();
    const facts = {
      hook: cut(hook),
      'chain type': nameOf(get(value, 'type')),
      'hook priority': writer.write(get(value, 'prio')),
      device: writer.write(get(value, 'dev')),
    };
    chain.base = {
      hook: facts.hook,
      policy: get(value, 'policy') === 'drop' ? 'drop' : 'accept',
      facts: Object.fromEntries(Object.entries(facts).filter(([, text]) => text !== '')),
    };
  }

  set(value: unknown): void {
    const elements = get(value, 'elem');
    const unknown = this.#terse && elements === undefined;
    this.#sets.set(nameOf(get(value, 'name')), unknown ? undefined : elements === undefined ? [] : listOf(elements));
  }

  rule(value: unknown): void {
    const { rules } = this.#chain(get(value, 'chain'));
    for (const rule of rulesOf(value, this)) rules.push(rule);
  }

  elements(name: string): readonly unknown[] | undefined {
    return this.#sets.get(name);
  }

  /** Written once for each set, however many rules mention it. */
  summary(name: string): string | undefined {
    const elements = this.#sets.get(name);
    if (elements === undefined) return undefined;
    const known = this.#summaries.get(name) ?? setSummary(elements);
    this.#summaries.set(name, known);
    return known;
  }

  finish(): Table {
    return {
      origin: 'nftables',
      family: this.#family,
      name: this.#name,
      dormant: this.#dormant,
      chains: [...this.#chains.values()],
    };
  }

  #chain(of: unknown): ChainDraft {
    const name = nameOf(of);
    const known = this.#chains.get(name);
    if (known !== undefined) return known;
    const chain: ChainDraft = { name, rules: [] };
    this.#chains.set(name, chain);
    return chain;
  }
}
