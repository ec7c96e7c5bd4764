import { renameSync, writeFileSync } from 'node:fs';

/**
 * Preloaded into an agent (`node --expose-gc --import`), on SIGUSR2 collects all garbage, and writes how many bytes are alive then,
 * in V8's heap and outside of it, into the file named by LIVE_MEMORY.
 */
const file = process.env.LIVE_MEMORY ?? '';

process.on('SIGUSR2', () => {
  globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  writeFileSync(`${file}.new`, String(heapUsed + external));
  renameSync(`${file}.new`, file);
});
