import { renameSync, writeFileSync } from 'node:fs';
import { getHeapCodeStatistics } from 'node:v8';

/** In bytes, after a collection. */
export interface LiveMemory {
  /** In V8's heap and outside of it, without `code`. */
  readonly data: number;
  /** Machine code and bytecode of V8, with their metadata. It grows until all rarely run code is compiled. */
  readonly code: number;
}

/**
 * Preloaded into an agent (`node --expose-gc --import`). On SIGUSR2, it collects all garbage and writes the size of the
 * live memory as JSON into the file named by LIVE_MEMORY.
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
