import { writeSync } from 'node:fs';
import { hostProc } from '../../../src/agent/host/in-root.ts';

/* Where the agent reads of the processes of a host whose root is mounted on the folder that is the only argument. */

writeSync(1, hostProc(process.argv[2] ?? ''));
