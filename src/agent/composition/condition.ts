import { TemporaryLogLevel } from '../../core/base/temporary-log-level.ts';
import { ExposedFiles } from '../linux/self/exposed-files.ts';
import { ownMemory } from '../linux/self/own-memory.ts';
import { UnusedMemory } from '../linux/self/unused-memory.ts';
import { collectGarbage, MemoryLimit } from '../pipeline/memory-limit.ts';
import { UserLoad } from '../pipeline/user-load.ts';
import { Runs } from '../state/runs.ts';
import type { DeliveryParts } from './delivery.ts';
import type { Foundation } from './foundation.ts';
import type { Storage } from './storage.ts';

/** What the agent watches of itself. */
export interface ConditionParts {
  readonly memory: MemoryLimit;
  /** What each user's events have taken lately. */
  readonly load: UserLoad;
  readonly exposedFiles: ExposedFiles;
  /** How earlier runs ended. */
  readonly runs: Runs;
  readonly logLevel: TemporaryLogLevel;
}

export function createCondition(
  { local, options, bootId, state, clock, clockOf, logOf, stateChanged, collectingResumed }: Foundation,
  {
    storage: { writer, stateFiles },
    delivery: { aggregator },
  }: { storage: Storage; delivery: Pick<DeliveryParts, 'aggregator'> },
): ConditionParts {
  const { files, signal, level, lookNow } = options;
  const unused = new UnusedMemory();
  const load = new UserLoad(clock);
  const memory = new MemoryLimit({
    load,
    budgetInMegabytes: local.memoryBudgetInMegabytes,
    resident: ownMemory,
    trim: async () => {
      await collectGarbage();
      unused.release();
    },
    flush: () => aggregator.flush(),
    clock: clockOf('memory'),
    log: logOf('memory'),
    changed: () => {
      collectingResumed.notify();
      stateChanged.notify();
    },
  });
  const exposedFiles = new ExposedFiles({
    files: { ...files, state: local.stateDirectory },
    lane: writer.syncs,
    clock: clockOf('files'),
    log: logOf('files'),
    changed: stateChanged.notify,
  });
  lookNow.on(() => void exposedFiles.checkAgain());
  const runs = new Runs({
    file: state('last-run.json'),
    bootId,
    isAskedTo: () => signal.aborted,
    clock,
    log: logOf('runs'),
    files: stateFiles,
  });
  const logLevel = new TemporaryLogLevel({ level, clock, log: logOf('log') });
  return { memory, load, exposedFiles, runs, logLevel };
}
