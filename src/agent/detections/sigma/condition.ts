import { type Expression, Refused } from './rule.ts';

/* condition = or
 * or        = and { "or" and }
 * and       = not { "and" not }
 * not       = [ "not" ] not | "(" or ")" | ( "1" | "any" | "all" ) "of" ( pattern | "them" ) | name
 */

const TOKENS = /\s*(?:([()])|([^\s()]+))/y;
const MAX_DEPTH = 50;
const MAX_CONDITION_CHARACTERS = 10_000;

/** @param selections by name @throws {Refused} */
export function readCondition(text: string, selections: ReadonlyMap<string, Expression>): Expression {
  if (text.length > MAX_CONDITION_CHARACTERS)
    throw new Refused(`the condition is longer than ${MAX_CONDITION_CHARACTERS} characters`, ['condition']);
  const reader = new Reader(text, selections);
  return reader.whole();
}

class Reader {
  readonly #tokens: string[] = [];
  readonly #selections: ReadonlyMap<string, Expression>;
  readonly #used = new Set<string>();
  #at = 0;
  #depth = 0;

  constructor(text: string, selections: ReadonlyMap<string, Expression>) {
    this.#selections = selections;
    TOKENS.lastIndex = 0;
    for (let token = TOKENS.exec(text); token !== null; token = TOKENS.exec(text))
      this.#tokens.push(token[1] ?? token[2] ?? '');
  }

  whole(): Expression {
    if (this.#tokens.length === 0) this.#refuse('the condition is empty');
    const whole = this.#or();
    const rest = this.#tokens[this.#at];
    if (rest === '|') this.#refuse('"|" is the aggregation of Sigma 1, which correlations have replaced');
    if (rest !== undefined) this.#refuse(`"${rest}" was not expected in the condition`);
    // Sigma excludes selections that start with `_` from "them", so that they may be unused.
    for (const name of this.#selections.keys()) {
      if (!this.#used.has(name) && !name.startsWith('_'))
        throw new Refused(`the condition does not use "${name}"`, [name]);
    }
    return whole;
  }

  #refuse(reason: string): never {
    throw new Refused(reason, ['condition']);
  }

  #word(): string | undefined {
    return this.#tokens[this.#at]?.toLowerCase();
  }

  #or(): Expression {
    if (++this.#depth > MAX_DEPTH) this.#refuse(`the condition has more than ${MAX_DEPTH} nested parentheses`);
    const of = [this.#and()];
    while (this.#word() === 'or') {
      this.#at += 1;
      of.push(this.#and());
    }
    this.#depth -= 1;
    return one('or', of);
  }

  #and(): Expression {
    const of = [this.#not()];
    while (this.#word() === 'and') {
      this.#at += 1;
      of.push(this.#not());
    }
    return one('and', of);
  }

  #not(): Expression {
    let negated = false;
    while (this.#word() === 'not') {
      this.#at += 1;
      negated = !negated;
    }
    const of = this.#operand();
    return negated ? { is: 'not', of } : of;
  }

  #operand(): Expression {
    const token = this.#tokens[this.#at];
    if (token === undefined) this.#refuse('the condition ends where a selection was expected');
    this.#at += 1;
    if (token === '(') {
      const inner = this.#or();
      if (this.#tokens[this.#at] !== ')') this.#refuse('a "(" of the condition has no ")"');
      this.#at += 1;
      return inner;
    }
    if (this.#word() === 'of') {
      const how = { 1: 'or', any: 'or', all: 'and' }[token.toLowerCase()];
      if (how === 'or' || how === 'and') return this.#several(how);
      this.#refuse(`"${token} of" is not known; "1 of" and "all of" are`);
    }
    return this.#named(token);
  }

  #several(how: 'or' | 'and'): Expression {
    this.#at += 1;
    const pattern = this.#tokens[this.#at];
    if (pattern === undefined) this.#refuse('the condition ends after "of"');
    this.#at += 1;
    const names = [...this.#selections.keys()].filter((name) => fits(pattern, name));
    if (names.length === 0) this.#refuse(`no selection is called "${pattern}"`);
    return one(
      how,
      names.map((name) => this.#named(name)),
    );
  }

  #named(name: string): Expression {
    const selection = this.#selections.get(name);
    if (selection === undefined) return this.#refuse(`no selection is called "${name}"`);
    this.#used.add(name);
    return { ...selection, selection: name };
  }
}

/** Selections that start with `_` match only a pattern that starts with `_`. */
function fits(pattern: string, name: string): boolean {
  if (name.startsWith('_') && !pattern.startsWith('_')) return false;
  if (pattern === 'them') return true;
  const [first = '', ...others] = pattern.split('*');
  if (others.length === 0) return name === pattern;
  const last = others.pop() ?? '';
  if (!name.startsWith(first) || name.length < first.length + last.length || !name.endsWith(last)) return false;
  let at = first.length;
  for (const part of others) {
    const found = name.indexOf(part, at);
    if (found === -1 || found + part.length > name.length - last.length) return false;
    at = found + part.length;
  }
  return true;
}

const one = (is: 'and' | 'or', of: readonly Expression[]): Expression => {
  const [only] = of;
  return of.length === 1 && only !== undefined ? only : { is, of };
};
