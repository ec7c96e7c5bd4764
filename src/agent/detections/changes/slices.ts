/** Work that may be interrupted at each `yield`, so that a snapshot of any size does not hold up the event loop. */
export type Sliced<T> = Generator<undefined, T>;

/** Rows between two places at which work may be interrupted: well below a millisecond. */
const SLICE = 64;

/** Whether this is such a place, when rows are counted from 0. */
export const isSlice = (row: number): boolean => row % SLICE === SLICE - 1;

/** Does all of it without a pause. */
export function atOnce<T>(work: Sliced<T>): T {
  let step = work.next();
  while (!step.done) step = work.next();
  return step.value;
}
