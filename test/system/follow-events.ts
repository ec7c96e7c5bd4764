import { writeSync } from 'node:fs';
import { pino } from 'pino';
import { LinuxEvents } from '../../src/agent/linux/events.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { hours } from '../../src/core/base/duration.ts';

/* A process that follows starts of programs until it is killed. It prints `following`, then the last argument of each program
 * that has the mark among its arguments, one per line. */

const [, , mark = '', hostRoot = '/', stateDirectory = '/nonexistent'] = process.argv;
const events = new LinuxEvents({
  streams: () => new Set(['starts']),
  sink: {
    accept(_stream, records) {
      for (const record of records) {
        const argv = 'argv' in record ? record.argv : undefined;
        if (argv?.[0] === '/bin/true' && argv.includes(mark)) writeSync(1, `${argv.at(-1)}\n`);
      }
    },
    drop: () => {},
  },
  clock: systemClock,
  log: pino({ level: 'silent' }),
  hostRoot,
  loopback: false,
  stateDirectory,
});
const stopping = new AbortController();
process.once('SIGTERM', () => stopping.abort());
await events.start();
writeSync(1, `following ${events.status('starts').source}\n`);
await systemClock.sleep(hours(1), stopping.signal);
await events.stop();
