import { constants, setPriority } from 'node:os';

/* The thread of a MemoryLoad. */
const CACHE_LINE = 64;
setPriority(constants.priority.PRIORITY_LOW); // on Linux that of this thread only: setpriority(2), BUGS
const numbers = new Float64Array((64 * 2 ** 20) / Float64Array.BYTES_PER_ELEMENT);
for (;;) {
  for (let index = 0; index < numbers.length; index += CACHE_LINE / Float64Array.BYTES_PER_ELEMENT) {
    numbers[index] = index;
  }
}
