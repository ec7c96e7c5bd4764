import { ok, wrong } from './finding.ts';
import { openFilesOf, processOf } from './process.ts';
import type { Check } from './situation.ts';

const NAME = 'open files';
/** The agent has about 30 open files, and a few more while it reads /proc or hashes. */
const ENOUGH = 128;

export const openFiles: Check = {
  name: NAME,
  worksWithoutConfiguration: true,
  run({ agent }) {
    const limit = openFilesOf(processOf(agent));
    if (limit === undefined || limit >= ENOUGH) return [ok(NAME, `${limit ?? 'any number'} allowed`)];
    const problem = `only ${limit} files may be open; the agent needs up to ${ENOUGH}`;
    return [
      wrong(NAME, problem, `Raise it: LimitNOFILE= of the unit, --ulimit nofile of the container, or ulimit -n.`),
    ];
  },
};
