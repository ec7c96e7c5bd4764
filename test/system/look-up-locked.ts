import { writeSync } from 'node:fs';
import { hostLookups } from '../../src/agent/linux/sources.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { milliseconds } from '../../src/core/base/duration.ts';

/*
 * Prints the agent's lookups for a start on its main thread, as JSON: for the running process, and as if it had exited.
 * Arguments: the process id, and the path of its program.
 */

const [, , pid = '', executable = ''] = process.argv;
const lookups = hostLookups({ hostRoot: '/', clock: systemClock });
/** On a loaded machine, reading any file may take so long that it is read in the background. */
async function started(id: number) {
  for (;;) {
    const start = { pid: id, parentPid: 1, userId: 12_345, executable, startedAt: systemClock.now() };
    const found = lookups.started(start);
    if (found.hashOmitted !== 'budget') return found;
    await systemClock.sleep(milliseconds(200));
  }
}
writeSync(1, JSON.stringify({ running: await started(Number(pid)), ended: await started(2 ** 22 + 1) }));
