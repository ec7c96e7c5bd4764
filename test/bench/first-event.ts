import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, setPriority } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/core/base/clock.ts';
import { type Duration, milliseconds, minutes } from '../../src/core/base/duration.ts';
import type { TestBed } from '../integration/test-bed.ts';

const START_EVERY = milliseconds(20);
/** Poll interval. Each poll reads all state files, which must not take the CPU from the agent. */
const LOOK_EVERY = milliseconds(50);
const LIMIT = minutes(2);
const BUSY_PER_CORE = 10;
/** The benchmark's own nice value, so that it measures on time, and a command that starts its children with 0. */
const RAISED = -20;
const NORMAL = ['nice', '-n', String(-RAISED)];

/** Milliseconds since the start of the agent's process. */
export interface FirstEvent {
  /** Until a ProcessCreate event from after the agent's start was in a file that survives `kill -9`. */
  readonly onDisk: number;
  /** When the earliest program started that the agent recorded. */
  readonly observedFrom: number;
}

/** Number of busy processes of `besideLoad`. */
export const LOAD = BUSY_PER_CORE * availableParallelism();

/** Raises the priority of this process, if permitted. @returns a command that starts a program with the normal priority */
export function raisePriority(): readonly string[] {
  try {
    setPriority(RAISED);
    return NORMAL;
  } catch {
    return [];
  }
}

/** Runs `work` while other processes use the CPU. @param normally starts a program with the normal priority */
export async function besideLoad<T>(normally: readonly string[], work: () => Promise<T>): Promise<T> {
  const [program = '/bin/sh', ...args] = [...normally, '/bin/sh', '-c', 'while :; do :; done'];
  const busy = Array.from({ length: LOAD }, () => spawn(program, args, { stdio: 'ignore' }));
  try {
    return await work();
  } finally {
    await Promise.all(busy.map(killed));
  }
}

/**
 * Starts an agent without earlier state while a program starts every 20 ms.
 *
 * @param program a program that exits immediately
 */
export async function firstEvent(bed: TestBed, program: string, normally: readonly string[]): Promise<FirstEvent> {
  const state = join(bed.directory, 'state');
  rmSync(state, { recursive: true, force: true });
  // As under systemd. It must be in memory: changes are held there until they are written to the state directory.
  const runtime = mkdtempSync('/dev/shm/vakt-bench-');
  const began = systemClock.monotonic();
  const agent = bed.startAgent({ through: normally, environment: { RUNTIME_DIRECTORY: runtime } });
  const starts = new Starts(program, `first-${began}-`);
  try {
    while (systemClock.monotonic() - began < LIMIT) {
      await systemClock.sleep(LOOK_EVERY);
      const earliest = starts.earliestIn([state, runtime]);
      if (earliest === undefined) continue;
      return { onDisk: systemClock.monotonic() - began, observedFrom: earliest - began };
    }
    throw new Error(`no event was on disk after ${LIMIT / 1_000} s:\n${agent.output}`);
  } finally {
    starts.stop();
    await agent.end();
    rmSync(runtime, { recursive: true });
  }
}

/** Starts a program repeatedly, each time with another argument. */
class Starts {
  readonly #marker: string;
  readonly #times: Duration[] = [];
  readonly #timer: NodeJS.Timeout;

  constructor(program: string, marker: string) {
    this.#marker = marker;
    const start = () => {
      this.#times.push(systemClock.monotonic());
      spawn(program, [`${marker}${this.#times.length - 1}.`], { stdio: 'ignore' });
    };
    start();
    this.#timer = setInterval(start, START_EVERY);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Time of the earliest start that a file in these folders contains; `undefined` if they contain none. */
  earliestIn(folders: readonly string[]): Duration | undefined {
    const pattern = new RegExp(`${this.#marker.replaceAll('.', '\\.')}(\\d+)\\.`, 'g');
    const found = folders.flatMap((folder) => textsIn(folder)).flatMap((text) => [...text.matchAll(pattern)]);
    return this.#times[Math.min(...found.map(([, number]) => Number(number)))];
  }
}

function textsIn(folder: string): string[] {
  try {
    const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
    return entries
      .filter((entry) => entry.isFile())
      .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'latin1'));
  } catch {
    return []; // does not exist yet, or is being replaced
  }
}

const killed = (child: ChildProcess) =>
  new Promise<void>((resolve) => {
    child.on('close', () => resolve());
    child.kill('SIGKILL');
  });
