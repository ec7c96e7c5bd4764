import { fieldsOf, hasKeyword } from '../sigma/log-source.ts';
import type { Expression } from '../sigma/rule.ts';
import { type Context, type List, neededBy, textsNeededBy } from './compile.ts';
import { compileCondition } from './compile-condition.ts';
import { LiteralCollector, Literals } from './literals.ts';
import type { Selection } from './selection.ts';

/** Collects the selection of these rules, by their index in the list. */
export function select(expressions: readonly Expression[], list: List): Selection {
  const slots = new Map<string, number>();
  const slotOf = (field: string): number => {
    const known = slots.get(field) ?? slots.size;
    slots.set(field, known);
    return known;
  };
  const literals = new LiteralCollector();
  const gates: Context['gates'] = (field, tests) => {
    for (const test of tests) literals.gate(slotOf(field), textsNeededBy(test, list));
    return CLOSED;
  };
  const always: number[] = [];
  const firstGates: number[] = [];
  for (const [rule, expression] of expressions.entries()) {
    for (const field of fieldsOf(expression)) slotOf(field);
    firstGates.push(literals.gateCount);
    compileCondition(expression, { slotOf, list, gates }); // collects all its gates
    const needed = neededBy(expression, list);
    if (needed === undefined) always.push(rule);
    else for (const { field, text } of needed) literals.select(slotOf(field), text, rule);
  }
  firstGates.push(literals.gateCount);
  return {
    fields: [...slots.keys()],
    tables: { ...literals.tables(), always: Uint32Array.from(always), firstGates: Uint32Array.from(firstGates) },
    ...(expressions.some(hasKeyword) ? { hasKeywords: true } : {}),
  };
}

const CLOSED = { next: () => 0 };

/** A selection in use: the rules that the fields of an event select. */
export class Selected {
  readonly #fields: readonly string[];
  readonly #firstGates: Uint32Array;
  readonly literals: Literals;

  constructor({ fields, tables }: Selection) {
    this.#fields = fields;
    this.#firstGates = tables.firstGates;
    this.literals = new Literals(tables, tables.firstGates.at(-1) ?? 0);
  }

  /** The gates of a rule, in the order of its expression. */
  gatesOf(rule: number): Context['gates'] {
    let next = this.#firstGates[rule] as number;
    return (field, { length }) => {
      const first = next;
      next += length;
      return this.literals.gates(this.#fields.indexOf(field), first, length);
    };
  }
}
