/** Work that can be interrupted at each `yield`, so that large snapshots do not block the event loop. */
export type Sliced<T> = Generator<undefined, T>;

/** Rows between two interruption points: well below a millisecond. */
const SLICE = 64;

/** Whether the work can be interrupted before this row, counted from 0. */
export const isSlice = (row: number): boolean => row % SLICE === SLICE - 1;

/** Does all the work without interruption. */
export function atOnce<T>(work: Sliced<T>): T {
  let step = work.next();
  while (!step.done) step = work.next();
  return step.value;
}
