import { opendirSync } from 'node:fs';
import type { Clock } from '../../../core/base/clock.ts';
import { milliseconds, seconds } from '../../../core/base/duration.ts';
import { TimeBudget } from '../../host/hashing-time.ts';
import { inodeAt, socketsAround } from '../sockets/connections/proc-sockets.ts';

/** After this time, the process that logged a user in may have been replaced by another one with the same id. */
const LONGEST_AGE = seconds(10);
/** Descriptors read per process; a login program has some ten. */
const MAX_DESCRIPTORS = 64;
/** Share of one processor: many login attempts cannot take more. */
const SHARE = 0.01;
const MAX_SAVED = milliseconds(100);

/** The ports of the connection that a login came by. */
export interface LoginPorts {
  readonly remote: number;
  readonly local: number;
}

/**
 * Finds the ports that audit's login records lack, by the sockets of the process that wrote the record. That works while
 * the process lives: for most sessions and refusals, but not for `ssh host true`.
 */
export class LoginConnections {
  readonly #clock: Clock;
  readonly #proc: string;
  readonly #budget: TimeBudget;

  /** @param proc the host's /proc */
  constructor({ clock, proc }: { clock: Clock; proc: string }) {
    this.#clock = clock;
    this.#proc = proc;
    this.#budget = new TimeBudget(clock, SHARE, MAX_SAVED);
  }

  /**
   * @param address the remote address of the login
   * @returns `undefined` when the ports can no longer be found, or the time budget is used up
   */
  portsOf(pid: number, address: string, time: Date): LoginPorts | undefined {
    const age = Math.abs(this.#clock.now().getTime() - time.getTime()); // negative if the clock was set back since then
    if (age > LONGEST_AGE || this.#budget.left() <= 0) return undefined;
    const from = this.#clock.monotonic();
    try {
      const inodes = this.#socketsOf(pid);
      if (inodes.size === 0) return undefined;
      let ports: LoginPorts | undefined;
      socketsAround(this.#proc, pid, { inodes }, ({ protocol, local, remote }) => {
        if (protocol === 'TCP' && remote?.address === address) ports ??= { remote: remote.port, local: local.port };
      });
      return ports;
    } catch {
      return undefined; // ended, or not readable
    } finally {
      this.#budget.pay(from);
    }
  }

  /** @throws the error of the file system when the process has exited */
  #socketsOf(pid: number): Set<number> {
    const inodes = new Set<number>();
    const folder = opendirSync(`${this.#proc}/${pid}/fd`);
    try {
      for (let count = 0; count < MAX_DESCRIPTORS; count += 1) {
        const entry = folder.readSync();
        if (entry === null) break;
        const inode = inodeAt(this.#proc, pid, Number(entry.name));
        if (inode !== undefined) inodes.add(inode);
      }
    } finally {
      folder.closeSync();
    }
    return inodes;
  }
}
