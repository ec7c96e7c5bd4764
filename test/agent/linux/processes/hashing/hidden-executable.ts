import { writeSync } from 'node:fs';
import { ExecutableHashes } from '../../../../../src/agent/linux/processes/hashing/executable-hashes.ts';
import { systemClock } from '../../../../../src/core/base/clock.ts';

/* Prints the digest of an exited program in a separate process; its path is the only argument. */

const [, , executable = ''] = process.argv;
const hashes = new ExecutableHashes({ hostRoot: '/', clock: systemClock });
const { sha256: digest } = hashes.of(
  { pid: 2 ** 22 + 1, parentPid: 1, userId: 0, executable, startedAt: systemClock.now() },
  { container: undefined, onHost: true, gone: true },
);
writeSync(1, `${digest}\n`);
