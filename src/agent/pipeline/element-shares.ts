import { ownerOfPayload } from '../../core/contract/owner.ts';
import type { Element } from './element-table.ts';

type SizeOf = (element: Element) => number;

/**
 * The elements to release so that the sizes of the rest add up to at most `max`. They belong to the owners with the most, who are
 * reduced to a common level; of an owner's elements, the least frequent, and of equally frequent ones the least recent.
 */
export function beyondShares(elements: readonly Element[], max: number, sizeOf: SizeOf): readonly Element[] {
  const groups = grouped(elements, ({ owner }) => owner).map((ofOwner) => ({ ofOwner, size: sum(ofOwner, sizeOf) }));
  const level = commonLevel(
    groups.map(({ size }) => size),
    max,
  );
  return groups.flatMap(({ ofOwner, size }) => {
    if (size <= level) return [];
    let excess = size - level;
    return leastFrequentFirst(ofOwner).filter((element) => {
      const leaves = excess > 0;
      if (leaves) excess -= sizeOf(element);
      return leaves;
    });
  });
}

/**
 * Divides elements into lists of at most `max`; one element alone may exceed it. All elements of a list belong to one owner, and
 * to one owner by their payload, since each user has a share of the queue and of the message units.
 */
export function inLists(elements: readonly Element[], max: number, sizeOf: SizeOf): readonly (readonly Element[])[] {
  const groups = grouped(elements, ({ owner, payload }) => `${owner} ${ownerOfPayload(payload)}`);
  return groups.flatMap((group) => cut(group, max, sizeOf));
}

function cut(elements: readonly Element[], max: number, sizeOf: SizeOf): Element[][] {
  const lists: Element[][] = [];
  let size = Number.POSITIVE_INFINITY;
  for (const element of elements) {
    const added = sizeOf(element);
    if (size + added > max) {
      lists.push([]);
      size = 0;
    }
    lists.at(-1)?.push(element);
    size += added;
  }
  return lists;
}

/** The level to which the largest sizes must be reduced so that all add up to at most `max`. */
function commonLevel(sizes: readonly number[], max: number): number {
  let left = max;
  for (const [index, size] of sizes.toSorted((a, b) => a - b).entries()) {
    const level = left / (sizes.length - index);
    if (size > level) return level;
    left -= size;
  }
  return Number.POSITIVE_INFINITY;
}

function grouped(elements: readonly Element[], keyOf: (element: Element) => string | undefined): readonly Element[][] {
  const groups = new Map<string | undefined, Element[]>();
  for (const element of elements) {
    const key = keyOf(element);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [element]);
    else group.push(element);
  }
  return [...groups.values()];
}

const leastFrequentFirst = (elements: readonly Element[]) =>
  elements.toSorted((a, b) => a.hits - b.hits || a.last - b.last);

const sum = (elements: readonly Element[], sizeOf: SizeOf) =>
  elements.reduce((all, element) => all + sizeOf(element), 0);
