import type { FirewallRule } from '../../contract/sources.ts';
import type { Action, Rule } from './ruleset.ts';

/** Of one text. A set of several hundred addresses fits. */
export const LONGEST = 4_000;
/** Of the name of a match: what is longer is none that anyone would look for. */
const LONGEST_NAME = 80;
/** Far more than any tool writes into one rule. */
const MOST_MATCHES = 32;

/** The properties that the contract has a field for, by what the parsers call them. */
const FIELDS = {
  'source address': 'sourceAddress',
  'source port': 'sourcePort',
  'destination address': 'destinationAddress',
  'destination port': 'destinationPort',
  protocol: 'protocol',
} as const satisfies Record<string, keyof FirewallRule>;
const isField = (name: string): name is keyof typeof FIELDS => Object.hasOwn(FIELDS, name);

/** A text that isn't longer than it may be, and without half a surrogate pair at its end. */
export const cut = (text: string): string =>
  text.length <= LONGEST ? text : `${text.slice(0, LONGEST).replace(/[\uD800-\uDBFF]$/, '')}…`;

/** For the words that say how many are left out. */
const ROOM_FOR_MORE = 30;

/** Several texts as one, no longer than it may be: `a,b,… 40 more`. Takes no more of them than fit. */
export function joined<T>(items: readonly T[], separator: string, text: (item: T) => string): string {
  let all = '';
  for (const [index, item] of items.entries()) {
    const one = cut(text(item));
    if (index > 0 && all.length + one.length > LONGEST - ROOM_FOR_MORE)
      return `${all}${separator}… ${items.length - index} more`;
    all = index === 0 ? one : all + separator + one;
  }
  return all;
}

/**
 * A rule while it is read, statement by statement.
 *
 * Whatever it is told ends up in the rule: in the contract's fields where there is one and it is still free, in the
 * target, or in `matches`.
 */
export class RuleDraft {
  readonly #fields = new Map<string, string>();
  readonly #matches = new Map<string, string>();
  /** What is done to a packet that goes on afterwards. */
  readonly #deeds: { name: string; text: string }[] = [];
  #impliedProtocol: string | undefined;
  #end: { action: Action; target: string } | undefined;
  #jumps: string[] | 'any' = [];
  #partial = false;

  /** A condition. The second one on a field stays with the other matches. */
  match(name: string, text: string): void {
    if (isField(name) && !this.#fields.has(name)) {
      this.#fields.set(name, cut(text));
    } else if (name.length <= LONGEST_NAME && (this.#matches.has(name) || this.#matches.size < MOST_MATCHES)) {
      this.#add(name, text);
    } else {
      this.#add('further', `${cut(name)} ${cut(text)}`);
    }
  }

  /** What must be the protocol for another condition to make sense. */
  implyProtocol(protocol: string): void {
    this.#impliedProtocol ??= protocol;
  }

  /** Something that is done to packets on their way. */
  deed(name: string, text = ''): void {
    this.#deeds.push({ name, text });
  }

  /** What becomes of packets in the end. Nothing comes after it; what is written there nevertheless is kept as text. */
  end(action: Action, target: string): void {
    if (this.#end === undefined) this.#end = { action, target: cut(target) };
    else this.match('afterwards', target);
  }

  /** A chain that packets may be sent to; without a name, one that can't be known. */
  reach(chain?: string): void {
    if (chain === undefined) this.#jumps = 'any';
    else if (this.#jumps !== 'any') this.#jumps.push(chain);
  }

  /** Says that the tool doesn't show all of it. */
  hide(): void {
    this.#partial = true;
  }

  finish(): Rule {
    const { action, target } = this.#end ?? { action: 'Other', target: this.#deedsAsTarget() };
    if (this.#end !== undefined) for (const { name, text } of this.#deeds) this.match(name, text || 'yes');
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
    if (before !== undefined && before.length > LONGEST) return; // it ends in "…" already
    this.#matches.set(name, cut(before === undefined ? text : `${before}; ${text}`));
  }

  #deedsAsTarget(): string {
    return joined(this.#deeds, '; ', ({ name, text }) => `${name} ${text}`.trim()) || 'continue';
  }
}
