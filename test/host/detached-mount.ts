import { writeSync } from 'node:fs';
import { systemClock } from '../../src/base/clock.ts';
import { LocalFiles } from '../../src/host/local-files.ts';

/* What LocalFiles says of the program of a process, its only argument: `number` for a descriptor, or why there is none. */

const file = new LocalFiles({ proc: '/proc', root: '/', clock: systemClock }).image(Number(process.argv[2]));
writeSync(1, `${typeof file === 'number' ? 'number' : file}\n`);
