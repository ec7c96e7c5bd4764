import { isPlainObject } from '../../../core/base/values.ts';
import type { ProcessThen } from '../../../core/contract/ancestry.ts';
import type { Payload } from '../../../core/contract/event.ts';
import { ActorRecognition } from '../../detections/actors/actor-recognition.ts';
import type { Hit } from '../../detections/subject.ts';

/** More than the agent follows. */
const MAX_ANCESTORS = 16;

/**
 * Ancestors that a recorded start has in its member `Ancestors`, the parent first: `Executable`, `Arguments` with their bounds,
 * `UserId`, `ProcessId`, and `IsHostFile`, whether the program and its script were files of the host that only root can
 * write. A command line alone does not show that, so a start without this member has no trusted actor.
 */
export function withRecordedAncestors(hit: Hit): Hit {
  const { payload } = hit.subject.event;
  const recorded = Array.isArray(payload.Ancestors) ? payload.Ancestors.filter(isPlainObject) : [];
  if (recorded.length === 0) return hit;
  const all = recorded.slice(0, MAX_ANCESTORS);
  const pids = all.map(({ ProcessId }, index) => (ProcessId === undefined ? -1 - index : Number(ProcessId)));
  const ancestors = all.map((each, index) => ancestorOf(each, pids[index] ?? 0, pids[index + 1] ?? 0));
  const actors = new ActorRecognition({
    isRootOwned: () => true,
    runsHostFile: (pid) => all[pids.indexOf(pid)]?.IsHostFile === true,
  });
  const during = actors.causeOf(payload, ancestors, hit.rule.lowered);
  return {
    ...hit,
    ancestors: ancestors.map(({ executable }) => executable),
    ...(during === undefined ? {} : { during }),
  };
}

function ancestorOf({ Executable, Arguments, UserId }: Payload, pid: number, parentPid: number): ProcessThen {
  return {
    pid,
    parentPid,
    executable: String(Executable),
    argv: Array.isArray(Arguments) ? Arguments.map(String) : undefined,
    userId: UserId === undefined ? undefined : Number(UserId),
  };
}
