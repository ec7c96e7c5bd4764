import type { Clock } from '../../../../core/base/clock.ts';
import { type Duration, LONG_AGO, milliseconds, minutes } from '../../../../core/base/duration.ts';
import { TimeBudget } from '../../../host/hashing-time.ts';
import type { NetlinkSocket } from '../../native/netlink/socket.ts';
import { networkOf, type ProcSocket, protocolAt, socketsAround, type Wanted } from './proc-sockets.ts';
import type { Protocol } from './socket-calls.ts';

/** Delay before asking again after the kernel refused to list sockets. */
const TRY_AGAIN = minutes(1);
/** Share of one processor, for the lists and for single sockets each. */
const SHARE = 0.02;
const MAX_SAVED = milliseconds(200);

/**
 * The kernel's lists of sockets: from sock_diag for this network namespace, from /proc/PID/net for others, such as
 * containers'. Reading them takes at most 2 % of a processor on average; beyond that, endpoints stay unknown. Lookups
 * of single sockets may take as much again.
 */
export class SocketLists {
  readonly #clock: Clock;
  readonly #proc: string;
  readonly #open: () => NetlinkSocket;
  readonly #protocolAt: typeof protocolAt;
  readonly #budget: TimeBudget;
  readonly #budgetOfOne: TimeBudget;
  #netlink: NetlinkSocket | undefined;
  /** A kernel may be able to list the sockets of one protocol only. */
  readonly #refusedUntil = new Map<'TCP' | 'UDP', Duration>();
  #own: string | undefined;

  constructor(parts: {
    clock: Clock;
    proc: string;
    open: () => NetlinkSocket;
    protocolAt?: typeof protocolAt | undefined;
  }) {
    this.#clock = parts.clock;
    this.#proc = parts.proc;
    this.#open = parts.open;
    this.#protocolAt = parts.protocolAt ?? protocolAt;
    this.#budget = new TimeBudget(parts.clock, SHARE, MAX_SAVED);
    this.#budgetOfOne = new TimeBudget(parts.clock, SHARE, MAX_SAVED);
  }

  /** Whether a process is in this network namespace, or `undefined` when it has ended. */
  isInOwnNetwork(pid: number): boolean | undefined {
    this.#own ??= networkOf('/proc', 'self');
    const network = networkOf(this.#proc, pid);
    return network === undefined ? undefined : network === this.#own;
  }

  /**
   * Lists the sockets of a protocol in this namespace.
   *
   * @returns `undefined` when the kernel refuses, or the time budget is used up
   */
  bySockDiag<T>(protocol: 'TCP' | 'UDP', question: (netlink: NetlinkSocket) => T): T | undefined {
    if (this.#clock.monotonic() < (this.#refusedUntil.get(protocol) ?? LONG_AGO)) return undefined;
    this.#refusedUntil.delete(protocol);
    try {
      return this.#afford(this.#budget, () => {
        this.#netlink ??= this.#open();
        return question(this.#netlink);
      });
    } catch {
      this.close();
      this.#refusedUntil.set(protocol, milliseconds(this.#clock.monotonic() + TRY_AGAIN));
      return undefined;
    }
  }

  /**
   * Shows the sockets that are wanted in the namespaces of these processes that `bySockDiag` cannot list.
   *
   * @returns the processes whose namespace was read whole; none when the time budget is used up
   */
  byProcNet(pids: Iterable<number>, wanted: Wanted, show: (socket: ProcSocket) => void): ReadonlySet<number> {
    const whole = new Set<number>();
    const isOwnListed = this.#netlink !== undefined && this.#refusedUntil.size === 0;
    const read = new Map<string, boolean>();
    for (const pid of pids) {
      const network = networkOf(this.#proc, pid);
      if (network === undefined || (isOwnListed && this.isInOwnNetwork(pid) === true)) continue;
      if (!read.has(network)) {
        const isComplete = this.#afford(this.#budget, () => socketsAround(this.#proc, pid, wanted, show));
        read.set(network, isComplete ?? false);
      }
      if (read.get(network) === true) whole.add(pid);
    }
    return whole;
  }

  /** See proc-sockets.ts. Takes about 20 µs. @returns `undefined` if the time budget is used up, too */
  protocolAt(pid: number, fd: number, inode: number): Protocol | undefined {
    return this.#afford(this.#budgetOfOne, () => this.#protocolAt(this.#proc, pid, fd, inode));
  }

  /** Runs the work if any budget is left, however long it then takes. */
  #afford<T>(budget: TimeBudget, work: () => T): T | undefined {
    if (budget.left() <= 0) return undefined;
    const from = this.#clock.monotonic();
    try {
      return work();
    } finally {
      budget.pay(from);
    }
  }

  close(): void {
    this.#netlink?.close();
    this.#netlink = undefined;
  }
}
