import { writeSync } from 'node:fs';
import { cachedHostFiles } from '../../../src/agent/linux/native/cached-names.ts';
import { systemClock } from '../../../src/core/base/clock.ts';

/* Prints the result of LocalFiles for a process, its only argument: `number` for a descriptor, or the reason for none. */

const file = cachedHostFiles({ hostRoot: '/', clock: systemClock }).image(Number(process.argv[2]));
writeSync(1, `${typeof file === 'number' ? 'number' : file}\n`);
