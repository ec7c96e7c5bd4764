import { systemClock } from '../../src/core/base/clock.ts';
import { forward, heap, MEGABYTE } from '../agent/detections/flood.ts';

/*
 * Heap of the detections after garbage collection, which must not grow: for a million starts with different command lines, and
 * for 100,000 attacks with different keys.
 */
const STEPS = 5;

const flood = forward();
const megabytes = (bytes: number) => (bytes / MEGABYTE).toFixed(1);

async function measure(subject: string, count: number, run: (count: number) => Promise<void>): Promise<void> {
  await run(count / 100);
  const heaps = [heap()];
  const began = systemClock.monotonic();
  for (let step = 0; step < STEPS; step += 1) {
    await run(count / STEPS);
    heaps.push(heap());
  }
  const each = ((systemClock.monotonic() - began) * 1_000) / count;
  const sizes = heaps.map(megabytes).join(', ');
  process.stdout.write(`${count} different ${subject}: heap ${sizes} MB; ${each.toFixed(0)} µs each\n`);
}

await measure('starts', 1_000_000, (count) => flood.starts(count));
await measure('attacks', 100_000, (count) => flood.alerts(count));
const { hits, alerts, counted, suppressed } = flood.accounts();
process.stdout.write(`${hits} hits = ${alerts} alerts + ${counted} counted + ${JSON.stringify(suppressed)}\n`);
process.stdout.write(`saved state: ${megabytes(flood.savedBytes())} MB; ${flood.problem() ?? 'all were evaluated'}\n`);
