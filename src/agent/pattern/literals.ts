import type { Node } from './parse.ts';
import { foldCode, type Ranges } from './ranges.ts';

/** Maximum number of listed alternatives; patterns with more have no needed literals. */
const MAX_LITERALS = 64;
/** Longer ones are cut: what a text needs to have is then a part of it. */
const MAX_LITERAL_CHARACTERS = 24;

/** Known facts about the strings that a part of a pattern matches, folded. */
interface Knowledge {
  /** All strings that it matches, if they are few. */
  readonly exact?: readonly string[];
  /** Each text that it matches has one of these in it. */
  readonly needed?: readonly string[];
}

/**
 * Folded strings, one of which occurs in every matching string; `undefined` if none is known, or only the empty one.
 * They select candidates: a text without any of them need not be matched.
 */
export function neededLiterals(node: Node): readonly string[] | undefined {
  const all = best(know(node));
  // A text that has `IPTABLES-NFT` in it has `IPTABLES`, too.
  return all?.filter((text) => !all.some((other) => other !== text && text.includes(other)));
}

const best = ({ exact, needed }: Knowledge): readonly string[] | undefined => better(usable(exact), usable(needed));

const usable = (texts: readonly string[] | undefined) =>
  texts === undefined || texts.length === 0 || texts.some((text) => text === '') ? undefined : texts;

/** Returns the set of alternatives that fewer strings contain: the one with longer alternatives, then with fewer. */
export function better(
  one: readonly string[] | undefined,
  other: readonly string[] | undefined,
): readonly string[] | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return score(other) > score(one) ? other : one;
}

function score(texts: readonly string[]): number {
  const shortest = Math.min(...texts.map(({ length }) => length));
  return Math.min(6, shortest) * 10 + Math.min(12, shortest) * 2 - Math.log2(texts.length) * 3;
}

/** Characters are the same node wherever they are. */
const OF_CHARS = new WeakMap<Node, Knowledge>();
const NOTHING: Knowledge = { exact: [''] };

function know(node: Node): Knowledge {
  switch (node.is) {
    case 'assert':
      return NOTHING;
    case 'char': {
      let known = OF_CHARS.get(node);
      if (known === undefined) {
        known = ofChar(node.ranges);
        OF_CHARS.set(node, known);
      }
      return known;
    }
    case 'choice':
      return ofChoice(node.of.map(know));
    case 'sequence':
      return ofSequence(node.of.map(know));
    case 'repeat': {
      if (node.min === 0) return node.max === 1 ? ofChoice([NOTHING, know(node.of)]) : {};
      const of = know(node.of);
      if (node.min === 1 && node.max === 1) return of;
      const needed = best(of);
      return needed === undefined ? {} : { needed };
    }
  }
}

function ofChar(ranges: Ranges): Knowledge {
  const codes = new Set<number>();
  for (const [from, to] of ranges) {
    if (to - from > 30) return {};
    for (let code = from; code <= to; code += 1) codes.add(foldCode(code));
    if (codes.size > 8) return {};
  }
  return { exact: [...codes].map((code) => String.fromCharCode(code)) };
}

function ofChoice(parts: readonly Knowledge[]): Knowledge {
  const exact: string[] = [];
  const needed: string[] = [];
  let isExact = true;
  let isNeeded = true;
  for (const part of parts) {
    if (part.exact === undefined) isExact = false;
    else exact.push(...part.exact);
    const of = best(part);
    if (of === undefined) isNeeded = false;
    else needed.push(...of);
  }
  return {
    ...(isExact && new Set(exact).size <= MAX_LITERALS ? { exact: [...new Set(exact)] } : {}),
    ...(isNeeded && new Set(needed).size <= MAX_LITERALS ? { needed: [...new Set(needed)] } : {}),
  };
}

function ofSequence(parts: readonly Knowledge[]): Knowledge {
  let run: readonly string[] | undefined = [''];
  let isExact = true;
  let found: readonly string[] | undefined;
  for (const part of parts) {
    const joined: readonly string[] | undefined =
      part.exact === undefined || run === undefined ? undefined : joinedOf(run, part.exact);
    if (joined !== undefined) {
      run = joined;
      continue;
    }
    isExact = false;
    found = better(found, usable(run));
    found = better(found, best(part));
    run = part.exact !== undefined && part.exact.length <= MAX_LITERALS ? part.exact : [''];
  }
  if (isExact && run !== undefined) return { exact: run };
  found = better(found, usable(run));
  return found === undefined ? {} : { needed: found };
}

function joinedOf(begins: readonly string[], ends: readonly string[]): readonly string[] | undefined {
  const [begin = '', other] = begins;
  const [end = '', another] = ends;
  if (other === undefined && another === undefined)
    return begin.length + end.length > MAX_LITERAL_CHARACTERS ? undefined : [begin + end];
  if (begins.length * ends.length > MAX_LITERALS) return undefined;
  const joined = new Set<string>();
  for (const begin of begins) {
    for (const end of ends) {
      if (begin.length + end.length > MAX_LITERAL_CHARACTERS) return undefined;
      joined.add(begin + end);
    }
  }
  return [...joined];
}
