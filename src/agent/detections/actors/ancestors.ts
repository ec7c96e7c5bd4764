import type { Ancestry, ProcessThen, StartMoment } from '../../../core/contract/ancestry.ts';

/** Enough for package scripts: a helper, the script, its frontend, the package manager. */
const MAX_ANCESTORS = 6;

/** The ancestors of a process, its parent first, each as it was when it started the next process. */
export function ancestorsOf(
  parent: ProcessThen | undefined,
  startedAt: StartMoment,
  ancestry: Ancestry,
): readonly ProcessThen[] {
  const ancestors: ProcessThen[] = [];
  let [process, moment] = [parent, startedAt];
  while (process !== undefined && ancestors.length < MAX_ANCESTORS) {
    ancestors.push(process);
    if (process.parentPid === 0) break;
    moment = process.since ?? moment;
    process = ancestry.processAt(process.parentPid, moment);
  }
  return ancestors;
}
