import { fileURLToPath } from 'node:url';
import { EventQueues } from '../../../src/agent/pipeline/queue.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { createLog } from '../../../src/core/base/log.ts';
import { nextTurn } from '../../../src/core/base/waiting.ts';
import { testSettings } from './queue-fixture.ts';
import { synchronousFiles } from './synchronous-files.ts';
import { tell } from './tell.ts';

/*
 * Puts numbered events into the queues of the directory given, prints its progress after each batch, and continues until
 * it is killed. Run by store.test.ts.
 */
async function write(directory: string): Promise<never> {
  const queues = new EventQueues({
    files: synchronousFiles,
    directory,
    settings: testSettings(50_000_000),
    clock: systemClock,
    log: createLog({ level: 'silent' }),
  });
  await queues.start();
  for (let n = queues.account('High').totals.collected; ; ) {
    const batch = Array.from({ length: 20 }, () => ({
      name: 'ProcessCreate',
      elements: 1,
      occurrences: 1,
      json: JSON.stringify({ n: n++, x: 'x'.repeat(500) }),
    }));
    queues.put('High', batch);
    await tell(n);
    const taken = queues.take('High', 3_000, true);
    if (n % 3 === 0 && taken.length > 0) queues.settle('High', 'delivered');
    else if (taken.length > 0) queues.settle('High', 'kept');
    await nextTurn();
  }
}

// Runs only as a separate process: importing this file must not start endless writes.
if (process.argv[1] === fileURLToPath(import.meta.url)) await write(process.argv[2] ?? '');
