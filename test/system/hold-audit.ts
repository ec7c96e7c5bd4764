import { writeSync } from 'node:fs';
import { pino } from 'pino';
import { AuditSource } from '../../src/agent/linux/audit/audit-source.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { hours } from '../../src/core/base/duration.ts';

/* A process that is registered as the audit daemon until it is killed. Writes `open` once it is. */

const source = new AuditSource({
  rules: () => [{ syscalls: ['execve', 'execveat'] }],
  sink: { accept: () => {}, lost: () => {} },
  clock: systemClock,
  log: pino({ level: 'silent' }),
});
await source.open();
writeSync(1, 'open\n');
if (process.argv[2] === 'throw') throw new Error('as asked');
await systemClock.sleep(hours(1));
