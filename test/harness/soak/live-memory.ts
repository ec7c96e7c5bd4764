import { renameSync, writeFileSync } from 'node:fs';
import { getHeapCodeStatistics } from 'node:v8';

/** In bytes, after a collection. */
export interface LiveMemory {
  /** In V8's heap and outside of it, without `code`. */
  readonly data: number;
  /** Machine code and bytecode of V8, with what belongs to them: it grows until all that runs now and then is compiled. */
  readonly code: number;
}

/**
 * Preloaded into an agent (`node --expose-gc --import`), on SIGUSR2 collects all garbage, and writes what is alive then into the
 * file named by LIVE_MEMORY, as JSON.
 */
const file = process.env.LIVE_MEMORY ?? '';

process.on('SIGUSR2', () => {
  globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  const { code_and_metadata_size, bytecode_and_metadata_size } = getHeapCodeStatistics();
  const code = code_and_metadata_size + bytecode_and_metadata_size;
  const live: LiveMemory = { data: heapUsed + external - code, code };
  writeFileSync(`${file}.new`, JSON.stringify(live));
  renameSync(`${file}.new`, file);
});
