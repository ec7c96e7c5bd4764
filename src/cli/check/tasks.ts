import { type Finding, ok, wrong } from './finding.ts';
import { groupLimitOf, processOf } from './process.ts';
import type { Check } from './situation.ts';

const NAME = 'tasks';
/** Node has 11 threads; a tool that the agent runs is a process of its own. */
const ENOUGH = 16;

export const tasks: Check = {
  name: NAME,
  run: ({ agent }) => [judgeTasks(groupLimitOf(processOf(agent), 'pids'))],
};

export function judgeTasks(limit: number | undefined): Finding {
  if (limit === undefined || limit >= ENOUGH) return ok(NAME, `${limit ?? 'any number'} allowed`);
  const what = `its control group may have ${limit} threads and processes; the agent needs up to ${ENOUGH}`;
  return wrong(NAME, what, 'Raise it: TasksMax= of the unit, --pids-limit of the container.');
}
