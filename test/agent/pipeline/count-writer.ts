import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { processCreate } from '../../../src/agent/collectors/process-create.ts';
import { Aggregator } from '../../../src/agent/pipeline/aggregator.ts';
import { EventQueues } from '../../../src/agent/pipeline/queue.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { seconds } from '../../../src/core/base/duration.ts';
import { createLog } from '../../../src/core/base/log.ts';
import { nextTurn } from '../../../src/core/base/waiting.ts';
import { aggregating, liveSettings } from './memory-queues.ts';
import { synchronousFiles } from './synchronous-files.ts';
import { tell } from './tell.ts';

/*
 * Counts on the disk of the directory given, with windows that close all the time, says after each batch how many it has
 * counted in this run, and continues until it is killed. Run by window-log.test.ts.
 */
export function countingParts(directory: string) {
  const settings = liveSettings({
    maxLocalCacheSizeInBytes: 50_000_000,
    priorities: { ProcessCreate: 'High' },
    ...aggregating(['ProcessCreate'], seconds(0.02)),
  });
  const log = createLog({ level: 'silent' });
  const queues = new EventQueues({
    files: synchronousFiles,
    directory: join(directory, 'queues'),
    settings,
    clock: systemClock,
    log,
  });
  const aggregator = new Aggregator({
    files: synchronousFiles,
    directory: join(directory, 'aggregates'),
    settings,
    queues,
    clock: systemClock,
    log,
  });
  return { queues, aggregator };
}

async function write(directory: string): Promise<never> {
  const { queues, aggregator } = countingParts(directory);
  await queues.start();
  await aggregator.start();
  for (let n = 0; ; ) {
    for (let i = 0; i < 20; i += 1, n += 1) {
      const payload = { Executable: '/bin/ls', CommandLine: `ls ${n % 70}`, UserId: '0' };
      aggregator.add(processCreate, 'High', payload, systemClock.now());
    }
    await nextTurn();
    await tell(n);
  }
}

// Runs only as a separate process: importing this file must not start endless writes.
if (process.argv[1] === fileURLToPath(import.meta.url)) await write(process.argv[2] ?? '');
