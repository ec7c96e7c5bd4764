import { closeSync, openSync, readdirSync, readlinkSync, readSync, statSync } from 'node:fs';
import { type Clock, type Moment, momentOf } from '../../../core/base/clock.ts';
import { type Duration, LONG_AGO, milliseconds, minutes, seconds } from '../../../core/base/duration.ts';
import { errnoOf } from '../../../core/base/errors.ts';
import type { StartedProcess } from '../../../core/contract/streams.ts';
import { containerIn } from '../../host/cgroups.ts';
import { hostProc } from '../../host/in-root.ts';
import { LivingProcesses } from './living-processes.ts';

/** Where a process runs, as far as known. */
export interface ProcessLocation {
  readonly container: string | undefined;
  /** Outside of all containers: its paths are the host's. */
  readonly onHost: boolean;
  /** The process has exited: /proc has no entry for it, or the entry of another process with its pid. */
  readonly gone: boolean;
}

const ON_HOST: ProcessLocation = { container: undefined, onHost: true, gone: false };
const ON_HOST_GONE: ProcessLocation = { ...ON_HOST, gone: true };
const UNKNOWN: ProcessLocation = { container: undefined, onHost: false, gone: true };

/**
 * Programs that start others in containers, by the beginning of their names: their children's container does not follow
 * from their own. A name counts only if root put the program in its place, since anybody can choose a name.
 */
const ENGINE =
  /^(?:runc|crun|youki|runsc|kata|conmon|containerd|docker(?!-init)|balena-engine|podman|buildah|buildkit|crio|nerdctl|ctr$|lxc|lxd|incus|systemd-nspawn)/;

/** /proc/PID/cgroup has a line for each of at most 14 hierarchies, usually of less than 200 bytes. */
const MAX_BYTES = 16 * 1024;
/** Processes whose location is cached, about 100 bytes each. */
const MAX_PLACES = 4_096;
/** How long a cached location is used: pids are not reused so soon, and processes are seldom moved. */
const FRESH = seconds(2);
/** An older start is from a log, or from before a change of the clock: its pid may have been reused. */
const RECENT = seconds(10);
const LOOK_EVERY = minutes(1);
/** Processes examined to find out whether there are containers: 20 µs each. If there are more, containers are assumed. */
const MAX_PROCESSES = 500;

interface Known {
  readonly container: string | undefined;
  readonly onHost: boolean;
  /** Whether it starts others in containers. */
  readonly isEngine: boolean;
  readonly since: Duration;
}

/**
 * Determines which container a process runs in, by its cgroup.
 *
 * For a process that has exited, its parent's container is used, unless the parent is an engine: then it is unknown. On a
 * host without containers, which is checked once a minute and whenever an engine starts, no process is looked up.
 *
 * A user who may create a cgroup chooses its name: a user's own, below `user@UID.service`, can have a container's name.
 */
export class Containers {
  readonly #proc: string;
  readonly #clock: Clock;
  readonly #living: LivingProcesses;
  readonly #isRootOwned: (path: string) => boolean;
  readonly #buffer = Buffer.allocUnsafeSlow(MAX_BYTES);
  /** In the order in which they were first looked up. */
  readonly #known = new Map<number, Known>();
  #present = true;
  #lookAt = LONG_AGO;

  /** @param options `isRootOwned` returns whether only root can have put a program in its place */
  constructor({
    hostRoot,
    clock,
    isRootOwned,
  }: {
    hostRoot: string;
    clock: Clock;
    isRootOwned: (path: string) => boolean;
  }) {
    this.#proc = hostProc(hostRoot);
    this.#isRootOwned = isRootOwned;
    this.#clock = clock;
    this.#living = new LivingProcesses({ proc: this.#proc, clock });
  }

  /** The container of a process that was just active. */
  of(pid: number, parentPid: number): string | undefined {
    const now = this.#clock.monotonic();
    if (!this.#anyContainers(now)) return undefined;
    const known = this.#lookUpCached(pid, now) ?? this.#ask(pid, now) ?? this.#cachedOrAsk(parentPid, now);
    return known?.container;
  }

  /** The container in which a program was started. Looked up at each start, since the process may have been moved. */
  started(
    { pid, parentPid, executable = '', startedAt }: StartedProcess,
    moment: Moment = momentOf(this.#clock),
  ): ProcessLocation {
    const now = moment.monotonic;
    const isPast = startedAt !== undefined && Math.abs(moment.wall - startedAt.getTime()) > RECENT;
    const isEngine = this.#isEngine(executable);
    if (isEngine && !isPast) this.#expectContainers(now);
    const gone = isPast || (startedAt !== undefined && this.#living.hasEnded(pid, startedAt.getTime(), moment));
    if (!this.#anyContainers(now)) return gone ? ON_HOST_GONE : ON_HOST;
    if (isPast) return UNKNOWN;

    const container = gone ? undefined : this.#containerOf(pid);
    if (container !== undefined) {
      const place = { container: container ?? undefined, onHost: container === null };
      this.#remember(pid, { ...place, isEngine, since: now });
      return { ...place, gone: false };
    }
    // A process that ran another program in a container before is still in it.
    const before = this.#lookUpCached(pid, now);
    const origin = before?.container === undefined ? this.#cachedOrAsk(parentPid, now) : before;
    // An engine moves what it has started; one within a container can do so only within that.
    const isMover = origin?.isEngine === true && origin.container === undefined;
    const { container: inherited, onHost } = origin === undefined || isMover ? UNKNOWN : origin;
    this.#remember(pid, { container: inherited, onHost, isEngine, since: now });
    return { container: inherited, onHost, gone: true };
  }

  #cachedOrAsk(pid: number, now: Duration): Known | undefined {
    return this.#lookUpCached(pid, now) ?? this.#ask(pid, now);
  }

  #lookUpCached(pid: number, now: Duration): Known | undefined {
    const known = this.#known.get(pid);
    return known !== undefined && now - known.since < FRESH ? known : undefined;
  }

  /** @returns `undefined` when there is no such process any more */
  #ask(pid: number, now: Duration): Known | undefined {
    const container = this.#containerOf(pid);
    if (container === undefined) return undefined;
    const isEngine = this.#runsEngine(pid);
    const known = { container: container ?? undefined, onHost: container === null, isEngine, since: now };
    this.#remember(pid, known);
    return known;
  }

  #isEngine(executable: string): boolean {
    return ENGINE.test(nameOf(executable)) && this.#isRootOwned(executable);
  }

  /** Detected by its program. The process's own name, which it can set freely, counts only if the program is not visible. */
  #runsEngine(pid: number): boolean {
    try {
      return this.#isEngine(readlinkSync(`${this.#proc}/${pid}/exe`));
    } catch (error) {
      const isHidden = errnoOf(error) === 'EACCES' || errnoOf(error) === 'EPERM';
      return isHidden && ENGINE.test(readSmall(`${this.#proc}/${pid}/comm`, this.#buffer)?.trimEnd() ?? '');
    }
  }

  #remember(pid: number, known: Known): void {
    this.#known.set(pid, known);
    if (this.#known.size <= MAX_PLACES) return;
    for (const oldest of this.#known.keys()) {
      this.#known.delete(oldest);
      return;
    }
  }

  /** @returns `null` when it is in no container, `undefined` when it cannot be read */
  #containerOf(pid: number): string | null | undefined {
    const path = `${this.#proc}/${pid}/cgroup`;
    // Most processes have exited by now, and throwing an error costs five times as much as this check.
    if (!exists(path)) return undefined;
    const cgroups = readSmall(path, this.#buffer);
    return cgroups === undefined ? undefined : (containerIn(cgroups) ?? null);
  }

  #expectContainers(now: Duration): void {
    this.#present = true;
    this.#lookAt = milliseconds(now + LOOK_EVERY);
  }

  #anyContainers(now: Duration): boolean {
    if (now >= this.#lookAt) {
      this.#lookAt = milliseconds(now + LOOK_EVERY);
      this.#present = mayHoldContainers(this.#proc, this.#buffer);
    }
    return this.#present;
  }
}

const nameOf = (executable: string) => executable.slice(executable.lastIndexOf('/') + 1);

function exists(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return false; // hidden
  }
}

/**
 * Whether a process is in a container. Containers are assumed when no process is visible, or when there are too many to
 * examine.
 *
 * The control groups themselves are not listed: any user can keep any of their folders locked for any length of time,
 * like any other folder that the user may read, and a process that lists it waits.
 *
 * @param proc the host's /proc
 */
export function mayHoldContainers(proc: string, buffer = Buffer.allocUnsafe(MAX_BYTES)): boolean {
  const pids = processesIn(proc);
  if (pids.length === 0 || pids.length > MAX_PROCESSES) return true;
  return pids.some((pid) => containerIn(readSmall(`${proc}/${pid}/cgroup`, buffer) ?? '') !== undefined);
}

function processesIn(proc: string): string[] {
  try {
    return readdirSync(proc).filter((name) => /^\d+$/.test(name));
  } catch {
    return []; // no /proc
  }
}

/** The content of a small file in /proc, read at once. */
function readSmall(path: string, buffer: Buffer): string | undefined {
  try {
    const file = openSync(path, 'r');
    try {
      return buffer.toString('utf8', 0, readSync(file, buffer, 0, MAX_BYTES, null));
    } finally {
      closeSync(file);
    }
  } catch {
    return undefined; // ended between two calls, or hidden
  }
}
