import { open } from 'node:fs';
import { exitAtOnce } from '../../../../src/agent/linux/native/system-calls.ts';
import { systemClock } from '../../../../src/core/base/clock.ts';
import { milliseconds } from '../../../../src/core/base/duration.ts';

/* Blocks a thread indefinitely and exits with status 3. Arguments: a named pipe without a writer; `at once` or nothing. */

const [, , pipe = '', how] = process.argv;
process.on('SIGTERM', () => {}); // as the agent has one
open(pipe, 'r', () => {});
await systemClock.sleep(milliseconds(200));
if (how === 'at once') exitAtOnce(3);
process.exit(3);
