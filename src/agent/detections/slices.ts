import { nextTurn } from '../../core/base/waiting.ts';

/* Long work as a generator that yields between slices of a few milliseconds each. */

/** Does all the work without interruption. For command line tools and tests. */
export function finishNow<T>(work: Generator<void, T>): T {
  for (;;) {
    const { done, value } = work.next();
    if (done === true) return value;
  }
}

/** Does the work in turns, between which the event loop runs other work. @throws the signal's reason if it is aborted */
export async function finishInTurns<T>(work: Generator<void, T>, signal?: AbortSignal): Promise<T> {
  for (;;) {
    const { done, value } = work.next();
    if (done === true) return value;
    await nextTurn();
    signal?.throwIfAborted();
  }
}
