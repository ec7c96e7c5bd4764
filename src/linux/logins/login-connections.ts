import { opendirSync } from 'node:fs';
import type { Clock } from '../../base/clock.ts';
import { milliseconds, seconds } from '../../base/duration.ts';
import { TimeBudget } from '../../host/time-budget.ts';
import { inodeAt, socketsAround } from '../sockets/connections/proc-sockets.ts';

/** A process that has logged somebody in longer ago may be another one by now. */
const LONGEST_AGO = seconds(10);
/** A login program has some ten descriptors. */
const MOST_DESCRIPTORS = 64;
/** Of a processor: nobody who tries many passwords can make it more. */
const SHARE = 0.01;
const MOST_SAVED = milliseconds(100);

/** The ports of the connection that somebody logs in by. */
export interface LoginPorts {
  readonly remote: number;
  readonly local: number;
}

/**
 * Finds the ports that audit's records of logins don't have: by the sockets of the process that wrote the record. It works
 * while the process lives, so for most sessions and refusals, and not for an `ssh host true`.
 */
export class LoginConnections {
  readonly #clock: Clock;
  readonly #proc: string;
  readonly #budget: TimeBudget;

  /** @param proc the host's /proc */
  constructor({ clock, proc }: { clock: Clock; proc: string }) {
    this.#clock = clock;
    this.#proc = proc;
    this.#budget = new TimeBudget(clock, SHARE, MOST_SAVED);
  }

  /**
   * @param address where the login comes from
   * @returns `undefined` when that can't be known any more, or there is no time to look
   */
  portsOf(pid: number, address: string, time: Date): LoginPorts | undefined {
    const age = Math.abs(this.#clock.now().getTime() - time.getTime()); // from the future: the clock was set back since
    if (age > LONGEST_AGO || this.#budget.left() <= 0) return undefined;
    const from = this.#clock.monotonic();
    try {
      const inodes = this.#socketsOf(pid);
      if (inodes.size === 0) return undefined;
      for (const { protocol, local, remote } of socketsAround(this.#proc, pid, inodes).values()) {
        if (protocol === 'TCP' && remote?.address === address) return { remote: remote.port, local: local.port };
      }
      return undefined;
    } catch {
      return undefined; // it has ended, or can't be looked into
    } finally {
      this.#budget.pay(from);
    }
  }

  /** @throws what the file system says when the process has ended */
  #socketsOf(pid: number): Set<number> {
    const inodes = new Set<number>();
    const folder = opendirSync(`${this.#proc}/${pid}/fd`);
    try {
      for (let count = 0; count < MOST_DESCRIPTORS; count += 1) {
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
