import { writeSync } from 'node:fs';
import { pino } from 'pino';
import { AuditSource } from '../../src/agent/linux/audit/audit-source.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { hours } from '../../src/core/base/duration.ts';

/* A process that reads audit from inherited sockets until it is killed. It prints its status, then the last argument of each
 * program that has this process's first argument among its own, one per line. */

const [, , mark = ''] = process.argv;
const source = new AuditSource({
  rules: () => [{ syscalls: ['execve'], where: { success: 1 } }],
  sink: {
    accept(events) {
      for (const { argv } of events) {
        if (argv?.[0] === '/bin/true' && argv.includes(mark)) writeSync(1, `${argv.at(-1)}\n`);
      }
    },
    lost: () => {},
  },
  clock: systemClock,
  log: pino({ level: 'silent' }),
});
await source.open();
writeSync(1, `${JSON.stringify(source.status())}\n`);
await systemClock.sleep(hours(1));
