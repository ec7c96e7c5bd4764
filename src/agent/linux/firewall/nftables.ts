import { KeptRules } from './kept-rules.ts';
import { NftElements, tooLarge } from './nft-elements.ts';
import { ExpressionWriter, get, listOf, nameOf, onlyProperty, setSummary } from './nft-expression.ts';
import { rulesOf, type Sets } from './nft-rule.ts';
import { cut } from './rule-draft.ts';
import type { ChainDraft, LeftOut, Table } from './ruleset.ts';

/* Reads the output of `nft -j list ruleset`: libnftables-json(5). */

/** Size of the JSON of all rules, about 10,000, and of everything else. */
const MAX_BYTES = 4 * 1024 * 1024;
/** JSON of rules that is read without a pause: about 150 rules. */
const SLICE_BYTES = 64 * 1024;

/**
 * The tables of nftables, read while nft writes them, in the order in which nft lists them.
 *
 * Objects other than tables, chains, sets, maps and rules are skipped; within a rule nothing is skipped (see RuleDraft).
 *
 * Above the limit of size the largest chains lose their last rules, which are counted.
 *
 * @throws SyntaxError when it is not JSON, or not nft's; ENOBUFS when tables, chains and sets alone exceed the limit
 */
export class NftListing {
  readonly #elements = new NftElements((text) => this.#add(text));
  readonly #tables: Tables;
  readonly #rules: KeptRules;
  readonly #maxBytes: number;
  /** Size of everything but rules. */
  #bytes = 0;

  /** @param terse whether the content of named sets was left out (`-t`) */
  constructor({ terse = false, maxBytes = MAX_BYTES } = {}) {
    this.#tables = new Tables(terse);
    this.#rules = new KeptRules(maxBytes);
    this.#maxBytes = maxBytes;
  }

  /** Accepts a part of nft's output. */
  add(chunk: Buffer): void {
    this.#elements.add(chunk);
  }

  /** Reads the rules when all is listed: a rule may mention a set that is listed after it. Yields between slices of the work. */
  *finish(): Generator<void, Table[]> {
    this.#elements.end();
    let read = 0;
    for (const { texts, leftOut, jumps, key } of this.#rules.chains()) {
      const [family, table, chain] = JSON.parse(key) as [string, string, string];
      const into = this.#tables.of(family, table);
      for (const text of texts) {
        into.rule(get(JSON.parse(text), 'rule'));
        read += text.length;
        if (read >= SLICE_BYTES) {
          yield;
          read = 0;
        }
      }
      if (leftOut > 0) into.leaveOut(chain, { rules: leftOut, jumps: jumps === 'any' ? jumps : [...jumps] });
    }
    return this.#tables.all();
  }

  #add(text: string): void {
    const { name, value } = onlyProperty(JSON.parse(text)) ?? {};
    if (name === 'rule') {
      const key = ['family', 'table', 'chain'].map((property) => nameOf(get(value, property)));
      this.#rules.add(JSON.stringify(key), text, value);
      return;
    }
    this.#bytes += text.length;
    if (this.#bytes > this.#maxBytes) throw tooLarge('The list of tables, chains and sets');
    if (name === 'table') this.#tables.of(get(value, 'family'), get(value, 'name')).flags(get(value, 'flags'));
    else if (name === 'chain') this.#tables.of(get(value, 'family'), get(value, 'table')).chain(value);
    else if (name === 'set' || name === 'map') this.#tables.of(get(value, 'family'), get(value, 'table')).set(value);
  }
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

  leaveOut(chain: string, leftOut: LeftOut): void {
    this.#chain(chain).leftOut = leftOut;
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
