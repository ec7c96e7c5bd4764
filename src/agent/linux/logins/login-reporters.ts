import { readlinkSync } from 'node:fs';
import type { Clock } from '../../../core/base/clock.ts';
import { LONG_AGO, milliseconds, minutes } from '../../../core/base/duration.ts';
import { exists } from '../../../core/base/paths.ts';
import type { LoginReporter } from '../../../core/contract/streams.ts';
import { mayHoldContainers } from '../processes/containers.ts';

const LOOK_FOR_CONTAINERS_EVERY = minutes(1);

/** Identifies the program that wrote a record, by the process id from the kernel; the record's own text proves nothing. */
export class LoginReporters {
  readonly #proc: string;
  readonly #executableOf: (pid: number) => string | undefined;
  readonly #containerOf: (pid: number) => string | undefined;
  readonly #clock: Clock;
  #hasContainers = true;
  #lookAt = LONG_AGO;

  /** @param options `executableOf` returns the program that a process was last seen to start */
  constructor(options: {
    /** The host's /proc. */
    proc: string;
    clock: Clock;
    executableOf?: (pid: number) => string | undefined;
    containerOf?: (pid: number) => string | undefined;
  }) {
    this.#proc = options.proc;
    this.#clock = options.clock;
    this.#executableOf = options.executableOf ?? (() => undefined);
    this.#containerOf = options.containerOf ?? (() => undefined);
  }

  /** Looks up a process that has just written a record. */
  of(pid: number): LoginReporter {
    const executable = this.#executableOf(pid) ?? this.#imageOf(pid);
    const containerId = this.#containerOf(pid);
    return {
      pid,
      ...(executable === undefined ? {} : { executable }),
      ...(containerId === undefined ? {} : { containerId }),
      ...(containerId === undefined && this.#isUnlocated(pid) ? { isUnlocated: true } : {}),
    };
  }

  #isUnlocated(pid: number): boolean {
    if (exists(`${this.#proc}/${pid}`)) return false;
    const now = this.#clock.monotonic();
    if (now >= this.#lookAt) {
      this.#lookAt = milliseconds(now + LOOK_FOR_CONTAINERS_EVERY);
      this.#hasContainers = mayHoldContainers(this.#proc);
    }
    return this.#hasContainers;
  }

  #imageOf(pid: number): string | undefined {
    try {
      return readlinkSync(`${this.#proc}/${pid}/exe`).replace(/ \(deleted\)$/, '');
    } catch {
      return undefined; // ended or hidden
    }
  }
}
