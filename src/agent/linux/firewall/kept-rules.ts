import { get, listOf, nameOf, onlyProperty } from './nft-expression.ts';

/** Rules of one chain, as JSON. */
export interface KeptChain {
  /** Identifies the chain. */
  readonly key: string;
  readonly texts: string[];
  /** Number of its last rules that were left out. */
  leftOut: number;
  /** Chains that these jump to; `any` when they are not known. */
  jumps: Set<string> | 'any';
}

interface Counted extends KeptChain {
  bytes: number;
}

/**
 * The rules of a listing, up to a limit. Above it the largest chain loses its last rules, so that a list of many addresses
 * doesn't displace the rules of other chains. A chain that has lost rules gets no further ones: it has no holes.
 */
export class KeptRules {
  readonly #chains = new Map<string, Counted>();
  readonly #maxBytes: number;
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** @param chain any text that identifies it */
  add(chain: string, text: string, rule: unknown): void {
    const into = this.#of(chain);
    if (into.leftOut > 0) {
      leaveOut(into, rule);
      return;
    }
    into.texts.push(text);
    into.bytes += text.length;
    this.#bytes += text.length;
    while (this.#bytes > this.#maxBytes) this.#shorten();
  }

  chains(): IterableIterator<KeptChain> {
    return this.#chains.values();
  }

  #shorten(): void {
    let largest: Counted | undefined;
    for (const chain of this.#chains.values())
      if (largest === undefined || chain.bytes > largest.bytes) largest = chain;
    const last = largest?.texts.pop();
    if (largest === undefined || last === undefined) return;
    largest.bytes -= last.length;
    this.#bytes -= last.length;
    leaveOut(largest, get(JSON.parse(last), 'rule'));
  }

  #of(chain: string): Counted {
    const known = this.#chains.get(chain);
    if (known !== undefined) return known;
    const added: Counted = { key: chain, texts: [], bytes: 0, leftOut: 0, jumps: new Set() };
    this.#chains.set(chain, added);
    return added;
  }
}

function leaveOut(chain: KeptChain, rule: unknown): void {
  chain.leftOut += 1;
  for (const statement of listOf(get(rule, 'expr') ?? [])) {
    const { name, value } = onlyProperty(statement) ?? {};
    if (name === 'vmap') chain.jumps = 'any';
    else if ((name === 'jump' || name === 'goto') && chain.jumps !== 'any')
      chain.jumps.add(nameOf(get(value, 'target')));
  }
}
