import { usesCodeCache } from '../../../core/base/code-cache.ts';
import { type Finding, note, ok, wrong } from './finding.ts';
import { groupLimitOf, memoryOf, openFilesOf, processOf } from './process.ts';
import type { Check } from './situation.ts';

const MEMORY = 'memory';
const MEGABYTE = 1024 * 1024;

/** Whether the memory budget is below the limits at which the kernel would kill the agent. */
export const memory: Check = {
  name: MEMORY,
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
    return wrong(MEMORY, problem, remedy);
  }
  if (machine !== undefined && budget > machine) {
    const problem = `the budget is ${budgetInMegabytes} MB, but the machine has ${inMegabytes(machine)} MB`;
    return wrong(MEMORY, problem, 'Lower memoryBudgetInMegabytes.');
  }
  const limit = group !== undefined && machine !== undefined && group < machine ? `, of ${inMegabytes(group)} MB` : '';
  return ok(MEMORY, `the budget is ${budgetInMegabytes} MB${limit}`);
}

const inMegabytes = (bytes: number) => Math.floor(bytes / MEGABYTE);

const OPEN_FILES = 'open files';
/** The agent has about 30 open files, and a few more while it reads /proc or hashes. */
const ENOUGH_FILES = 128;

export const openFiles: Check = {
  name: OPEN_FILES,
  worksWithoutConfiguration: true,
  run({ agent }) {
    const limit = openFilesOf(processOf(agent));
    if (limit === undefined || limit >= ENOUGH_FILES) return [ok(OPEN_FILES, `${limit ?? 'any number'} allowed`)];
    const problem = `only ${limit} files may be open; the agent needs up to ${ENOUGH_FILES}`;
    return [
      wrong(OPEN_FILES, problem, `Raise it: LimitNOFILE= of the unit, --ulimit nofile of the container, or ulimit -n.`),
    ];
  },
};

const TASKS = 'tasks';
/** Node has 11 threads; each tool that the agent runs is another process. */
const ENOUGH_TASKS = 16;

export const tasks: Check = {
  name: TASKS,
  worksWithoutConfiguration: true,
  run: ({ agent }) => [checkTaskLimit(groupLimitOf(processOf(agent), 'pids'))],
};

export function checkTaskLimit(limit: number | undefined): Finding {
  if (limit === undefined || limit >= ENOUGH_TASKS) return ok(TASKS, `${limit ?? 'any number'} allowed`);
  const problem = `its control group is limited to ${limit} threads and processes; the agent needs up to ${ENOUGH_TASKS}`;
  return wrong(TASKS, problem, 'Raise it: TasksMax= of the unit, --pids-limit of the container.');
}

const CODE_CACHE = 'code cache';

/** Whether this command, which starts as the agent does, was started by V8's code cache. */
export const codeCache: Check = {
  name: CODE_CACHE,
  worksWithoutConfiguration: true,
  run() {
    const isUsed = usesCodeCache();
    if (isUsed === undefined) return []; // a clone has none
    if (isUsed) return [ok(CODE_CACHE, 'in use: a start takes a quarter less time')];
    const problem = 'none that fits this Node and this processor: a start takes a third longer';
    const remedy =
      'Run as root, where the program can be written: vakt make-code-cache. For a container, build the image on such a processor.';
    return [note(CODE_CACHE, problem, remedy)];
  },
};
