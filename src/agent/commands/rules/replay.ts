import type { Duration } from '../../../core/base/duration.ts';
import { isPlainObject } from '../../../core/base/values.ts';
import type { ProcessThen } from '../../../core/contract/ancestry.ts';
import type { Payload } from '../../../core/contract/event.ts';
import { ActorRecognition } from '../../detections/actors/actor-recognition.ts';
import { agentChanges } from '../../detections/changes/change.ts';
import { SnapshotParts } from '../../detections/changes/rows.ts';
import { SnapshotChanges } from '../../detections/changes/snapshot-changes.ts';
import { Detector, type Lists, type TimeSource } from '../../detections/detector.ts';
import type { ParsedRule } from '../../detections/sigma/rule.ts';
import type { Hit, Subject } from '../../detections/subject.ts';
import { type Program, subjectOf } from '../../detections/subjects.ts';
import type { GivenEvent } from './events.ts';

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

/** Shows the time of the events that are replayed. */
class EventClock implements TimeSource {
  at = Date.UTC(2026, 0, 1);

  now(): Date {
    return new Date(this.at);
  }

  monotonic(): Duration {
    return this.at as Duration;
  }
}

/** Processes whose parents can be looked up. */
const MAX_PROCESSES = 4_096;

/** Evaluates recorded events as the agent would have evaluated them when they happened. */
export class Replay {
  readonly #clock = new EventClock();
  readonly #detector: Detector;
  #changes = new SnapshotChanges();
  #parts = new SnapshotParts();
  #programs = new Map<string, Program>();
  /** User names, keyed by id. */
  #userNames = new Map<number, string>();

  constructor(rules: readonly ParsedRule[], lists: Lists) {
    this.#detector = new Detector({ rules, lists, clock: this.#clock });
  }

  /** Forgets all that was replayed. */
  restart(): void {
    this.#detector.forget();
    this.#changes = new SnapshotChanges();
    this.#parts = new SnapshotParts();
    this.#programs = new Map();
    this.#userNames = new Map();
  }

  evaluate(event: GivenEvent): Hit[] {
    if (event.time !== undefined) this.#clock.at = event.time;
    return this.#subjectsOf(event)
      .flatMap((subject) => this.#detector.evaluate(subject))
      .map(withRecordedAncestors);
  }

  #subjectsOf(event: GivenEvent): readonly Subject[] {
    const { name, payload } = event;
    // An id that several elements share would make a correlation count them once.
    const ids = event.id === undefined || payload.length > 1 ? [] : [event.id];
    const at = this.#clock.now();
    if (SnapshotChanges.compares(name)) {
      const whole = this.#parts.accept(name, payload);
      return whole === undefined ? [] : this.#changes.accept({ event: name, at, ids, ...whole });
    }
    const own = agentChanges(payload, { event: name, at, ids });
    if (own.length > 0) return own;
    return payload.flatMap((each) => {
      const parent = this.#programs.get(String(each.ParentProcessId));
      if (name === 'ProcessCreate') this.#remember(each);
      const userNameOf = (userId: number) => this.#userNames.get(userId);
      return subjectOf({ name, payload: each, time: at.getTime(), ids, parent, userNameOf }) ?? [];
    });
  }

  /** What the agent would look up for later events: programs of parents, and names of users. */
  #remember({ ProcessId, Executable, CommandLine, UserId, UserName }: Payload): void {
    if (typeof UserName === 'string') this.#userNames.set(Number(UserId), UserName);
    if (typeof Executable !== 'string') return;
    const pid = String(ProcessId);
    this.#programs.delete(pid);
    this.#programs.set(pid, {
      executable: Executable,
      ...(typeof CommandLine === 'string' ? { commandLine: CommandLine } : {}),
    });
    const [oldest] = this.#programs.keys();
    if (this.#programs.size > MAX_PROCESSES && oldest !== undefined) this.#programs.delete(oldest);
  }
}
