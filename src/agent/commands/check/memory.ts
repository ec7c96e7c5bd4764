import { type Finding, ok, wrong } from './finding.ts';
import { groupLimitOf, memoryOf, processOf } from './process.ts';
import type { Check } from './situation.ts';

const NAME = 'memory';
const MEGABYTE = 1024 * 1024;

/** Whether the memory budget is below the limits at which the kernel would kill the agent. */
export const memory: Check = {
  name: NAME,
  run: ({ local, agent }) => [
    checkBudget(local.memoryBudgetInMegabytes, {
      group: groupLimitOf(processOf(agent), 'memory'),
      machine: memoryOf(),
    }),
  ],
};

/** @param limits in bytes */
export function checkBudget(
  budgetInMegabytes: number,
  { group, machine }: { group: number | undefined; machine: number | undefined },
): Finding {
  const budget = budgetInMegabytes * MEGABYTE;
  if (group !== undefined && budget > group) {
    const problem = `the budget is ${budgetInMegabytes} MB, but the limit of its control group is ${inMegabytes(group)} MB: the kernel kills the agent before it reaches its budget`;
    const remedy = `Raise the group's limit (MemoryMax= of the unit, --memory of the container) above ${budgetInMegabytes} MB, or lower memoryBudgetInMegabytes.`;
    return wrong(NAME, problem, remedy);
  }
  if (machine !== undefined && budget > machine) {
    const problem = `the budget is ${budgetInMegabytes} MB, but the machine has ${inMegabytes(machine)} MB`;
    return wrong(NAME, problem, 'Lower memoryBudgetInMegabytes.');
  }
  const limit = group !== undefined && machine !== undefined && group < machine ? `, of ${inMegabytes(group)} MB` : '';
  return ok(NAME, `the budget is ${budgetInMegabytes} MB${limit}`);
}

const inMegabytes = (bytes: number) => Math.floor(bytes / MEGABYTE);
