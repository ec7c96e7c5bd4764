import type { FirewallRule } from '../../../core/contract/sources.ts';
import type { Action, Rule } from './ruleset.ts';

/** Length of one text, enough for a set of several hundred addresses. */
export const MAX_TEXT_CHARACTERS = 4_000;
/** Length of a match's name; a longer one is cut. */
const LONGEST_NAME = 80;
/** Far more than a tool writes into one rule. */
const MAX_MATCHES = 32;

/** The properties that the contract has a field for, by their names in the parsers. */
const FIELDS = {
  'source address': 'sourceAddress',
  'source port': 'sourcePort',
  'destination address': 'destinationAddress',
  'destination port': 'destinationPort',
  protocol: 'protocol',
} as const satisfies Record<string, keyof FirewallRule>;
const isField = (name: string): name is keyof typeof FIELDS => Object.hasOwn(FIELDS, name);

/** Cuts a text to its maximum length, without splitting a surrogate pair. */
export const cut = (text: string): string =>
  text.length <= MAX_TEXT_CHARACTERS ? text : `${text.slice(0, MAX_TEXT_CHARACTERS).replace(/[\uD800-\uDBFF]$/, '')}…`;

/** Reserved for the text that says how many items are left out. */
const RESERVED_FOR_COUNT = 30;

/** Joins strings up to the maximum length: `a,b,… 40 more`. Reads no more of them than fit. */
export function joined<T>(items: readonly T[], separator: string, text: (item: T) => string): string {
  let all = '';
  for (const [index, item] of items.entries()) {
    const one = cut(text(item));
    if (index > 0 && all.length + one.length > MAX_TEXT_CHARACTERS - RESERVED_FOR_COUNT)
      return `${all}${separator}… ${items.length - index} more`;
    all = index === 0 ? one : all + separator + one;
  }
  return all;
}

/**
 * A rule while it is read, statement by statement.
 *
 * Everything recorded ends up in the rule: in a field of the contract if there is one and it is not yet used, in the
 * target, or in `matches`.
 */
export class RuleDraft {
  readonly #fields = new Map<string, string>();
  readonly #matches = new Map<string, string>();
  /** Actions after which the packet continues through the rules. */
  readonly #effects: { name: string; text: string }[] = [];
  #impliedProtocol: string | undefined;
  #end: { action: Action; target: string } | undefined;
  #jumps: string[] | 'any' = [];
  #partial = false;

  /** A condition. A second one on the same field is added to `matches`. */
  match(name: string, text: string): void {
    if (isField(name) && !this.#fields.has(name)) {
      this.#fields.set(name, cut(text));
    } else if (name.length <= LONGEST_NAME && (this.#matches.has(name) || this.#matches.size < MAX_MATCHES)) {
      this.#add(name, text);
    } else {
      this.#add('further', `${cut(name)} ${cut(text)}`);
    }
  }

  /** The protocol that another condition implies. */
  implyProtocol(protocol: string): void {
    this.#impliedProtocol ??= protocol;
  }

  /** An action that does not end the rules' evaluation. */
  effect(name: string, text = ''): void {
    this.#effects.push({ name, text });
  }

  /** The verdict. Nothing should follow it; anything that does is kept as text. */
  end(action: Action, target: string): void {
    if (this.#end === undefined) this.#end = { action, target: cut(target) };
    else this.match('afterwards', target);
  }

  /** A chain that packets may jump to; without a name, any chain. */
  reach(chain?: string): void {
    if (chain === undefined) this.#jumps = 'any';
    else if (this.#jumps !== 'any') this.#jumps.push(chain);
  }

  /** Marks the rule as incompletely shown by the tool. */
  hide(): void {
    this.#partial = true;
  }

  finish(): Rule {
    const { action, target } = this.#end ?? { action: 'Other', target: this.#effectsAsTarget() };
    if (this.#end !== undefined) for (const { name, text } of this.#effects) this.match(name, text || 'yes');
    if (this.#impliedProtocol !== undefined && !this.#fields.has('protocol')) {
      this.#fields.set('protocol', this.#impliedProtocol);
    }
    return {
      action,
      target,
      ...Object.fromEntries(
        Object.entries(FIELDS).flatMap(([name, field]) => {
          const text = this.#fields.get(name);
          return text === undefined ? [] : [[field, text]];
        }),
      ),
      matches: Object.fromEntries(this.#matches),
      jumps: this.#jumps,
      partial: this.#partial,
    };
  }

  #add(name: string, text: string): void {
    const before = this.#matches.get(name);
    if (before !== undefined && before.length > MAX_TEXT_CHARACTERS) return; // already cut
    this.#matches.set(name, cut(before === undefined ? text : `${before}; ${text}`));
  }

  #effectsAsTarget(): string {
    return joined(this.#effects, '; ', ({ name, text }) => `${name} ${text}`.trim()) || 'continue';
  }
}
