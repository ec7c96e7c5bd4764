import { writeSync } from 'node:fs';
import { ExecutableHashes } from '../../../../../src/agent/linux/processes/hashing/executable-hashes.ts';
import { systemClock } from '../../../../../src/core/base/clock.ts';

/* Prints the digest of an exited program in a separate process; its path is the only argument. */

const [, , executable = ''] = process.argv;
const hashes = new ExecutableHashes({ hostRoot: '/', clock: systemClock });
const startedAt = systemClock.now();
const ask = () =>
  hashes.of(
    { pid: 2 ** 22 + 1, parentPid: 1, userId: 0, executable, startedAt },
    { container: undefined, onHost: true, gone: true },
  ).sha256;
const first = ask();
// A file that takes long to read is read in the background: on a busy machine, that can be any.
if (first === undefined) await hashes.idle();
writeSync(1, `${first ?? ask()}\n`);
