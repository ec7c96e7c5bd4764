import { readlinkSync } from 'node:fs';
import type { LoginReporter } from '../../contract/sources.ts';

/** Identifies the program that wrote a record, by the process id from the kernel; the record's own text proves nothing. */
export class LoginReporters {
  readonly #proc: string;
  readonly #executableOf: (pid: number) => string | undefined;
  readonly #containerOf: (pid: number) => string | undefined;

  /** @param options `executableOf` returns the program that a process was last seen to start */
  constructor(options: {
    /** The host's /proc. */
    proc: string;
    executableOf?: (pid: number) => string | undefined;
    containerOf?: (pid: number) => string | undefined;
  }) {
    this.#proc = options.proc;
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
    };
  }

  #imageOf(pid: number): string | undefined {
    try {
      return readlinkSync(`${this.#proc}/${pid}/exe`).replace(/ \(deleted\)$/, '');
    } catch {
      return undefined; // ended or hidden
    }
  }
}
