import { open } from 'node:fs';
import { systemClock } from '../../../src/base/clock.ts';
import { milliseconds } from '../../../src/base/duration.ts';
import { exitAtOnce } from '../../../src/linux/native/exit-at-once.ts';

/* Blocks a thread for ever, and ends with status 3. Arguments: a named pipe that nobody writes to; `at once`, or not. */

const [, , pipe = '', how] = process.argv;
process.on('SIGTERM', () => {}); // as the agent has one
open(pipe, 'r', () => {});
await systemClock.sleep(milliseconds(200));
if (how === 'at once') exitAtOnce(3);
process.exit(3);
