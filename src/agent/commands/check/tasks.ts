import { type Finding, ok, wrong } from './finding.ts';
import { groupLimitOf, processOf } from './process.ts';
import type { Check } from './situation.ts';

const NAME = 'tasks';
/** Node has 11 threads; each tool that the agent runs is another process. */
const ENOUGH = 16;

export const tasks: Check = {
  name: NAME,
  worksWithoutConfiguration: true,
  run: ({ agent }) => [checkTaskLimit(groupLimitOf(processOf(agent), 'pids'))],
};

export function checkTaskLimit(limit: number | undefined): Finding {
  if (limit === undefined || limit >= ENOUGH) return ok(NAME, `${limit ?? 'any number'} allowed`);
  const problem = `its control group is limited to ${limit} threads and processes; the agent needs up to ${ENOUGH}`;
  return wrong(NAME, problem, 'Raise it: TasksMax= of the unit, --pids-limit of the container.');
}
