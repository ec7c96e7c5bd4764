import { writeSync } from 'node:fs';
import { pino } from 'pino';
import { LinuxEvents } from '../../src/agent/linux/events.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { hours } from '../../src/core/base/duration.ts';

/* A process that follows starts and exits of programs until it is killed. It prints each, and each loss, as a line of JSON to
 * standard output, and warnings to standard error. */

const [, , hostRoot = '/', stateDirectory = '/nonexistent'] = process.argv;
const say = (line: object) => writeSync(1, `${JSON.stringify(line)}\n`);
const events = new LinuxEvents({
  streams: () => new Set(['starts', 'exits']),
  sink: {
    accept(_stream, records) {
      for (const record of records) {
        if ('commandLine' in record && 'argv' in record)
          say({ start: record.argv, pid: record.pid, at: record.time.getTime() });
        else if ('exitStatus' in record) say({ end: record.executable ?? null, pid: record.pid });
      }
    },
    drop: (stream, reason, count) => say({ dropped: `${stream} ${reason}`, count }),
  },
  clock: systemClock,
  log: pino({ level: 'info' }, pino.destination({ dest: 2, sync: true })),
  hostRoot,
  loopback: false,
  stateDirectory,
});
const stopping = new AbortController();
process.once('SIGTERM', () => stopping.abort());
await events.start();
say({ following: events.status('starts').source });
await systemClock.sleep(hours(1), stopping.signal);
await events.stop();
