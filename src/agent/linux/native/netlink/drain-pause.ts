import type { Clock } from '../../../../core/base/clock.ts';
import { type Duration, LONG_AGO, milliseconds, seconds } from '../../../../core/base/duration.ts';
import { Alarm, untilBeat } from '../../../../core/base/waiting.ts';
import { ARRIVAL_SIGNAL, type NetlinkSocket } from './socket.ts';

/**
 * The shortest and the longest pause while something arrives. Large batches cost least, above all for lookups: one list of
 * processes serves a whole batch. All loops have the same two, and thus pause until the same beat unless they are busy: an exit
 * is reported when the starts of its time have been read, and another loop reads those.
 */
export const SHORTEST_PAUSE = milliseconds(50);
const LONGEST_PAUSE = milliseconds(500);
/**
 * Sockets are read at short intervals until nothing has arrived at any of them for this time. At the longest of these
 * intervals, one read finds nothing: it costs as much as the signal and the gathering that it may save.
 */
const QUIET_AFTER = milliseconds(400);
/** Longest time between two reads. Losses and what waits for a time are looked at then, too. */
export const LONGEST_QUIET_PAUSE = seconds(2);
/** From the first arrival after a quiet time to the read, so that its neighbours are read with it. */
const GATHERING = milliseconds(50);

/**
 * When something last arrived at one of the process's netlink sockets. One for all: the signal does not name the socket,
 * and what is read from one socket is often needed to work on what another one gives.
 */
export class Arrivals {
  /** Monotonic time. */
  lastAt = LONG_AGO;
  /** How many signals came. */
  signals = 0;
  /** A datagram arrived without a signal: a security module may forbid it. */
  areSilent = false;
  readonly #sleepers = new Set<Alarm>();
  #isListening = false;

  /** Call this before the first signal is requested. The handler stays, and does not keep the process alive. */
  listen(clock: Clock): void {
    if (this.#isListening) return;
    this.#isListening = true;
    process.on(ARRIVAL_SIGNAL, () => {
      this.signals += 1;
      this.lastAt = clock.monotonic();
      for (const sleeper of this.#sleepers) sleeper.ring();
    });
  }

  /** Resolves at the next signal, after `wait`, or when `signal` aborts. @param alarm of the one who sleeps */
  async sleep(alarm: Alarm, clock: Clock, wait: Duration, signal: AbortSignal): Promise<void> {
    this.#sleepers.add(alarm);
    await alarm.sleep(clock, wait, signal);
    this.#sleepers.delete(alarm);
  }
}

const allArrivals = new Arrivals();

/** How many datagrams one read finds for the next pause to be half as long, or twice as long. */
interface Batch {
  /** More than this: half as long. Far fewer than a receive buffer holds. */
  readonly many: number;
  /** Fewer than this: twice as long. */
  readonly few: number;
}

/** What a read of the sockets came to. */
interface Found {
  /** How many datagrams were read. */
  readonly read: number;
  readonly sockets: readonly Pick<NetlinkSocket, 'announceArrivals'>[];
  /** Whether something that was read earlier waits for further reads. */
  readonly isWaiting: boolean;
}

/**
 * The pauses of a loop that reads netlink sockets: short ones as long as something arrives, since waking up for each datagram
 * would cost several times as much as reading batches; the more arrives, the shorter. When nothing has arrived for a moment,
 * the kernel is asked to announce the next datagram by a signal, and the loop pauses until then, for two seconds at most:
 * reading two quiet sockets four times a second took 0.14 % of a core, and takes 0.05 % so.
 *
 * Where the kernel does not announce arrivals, all pauses are short.
 */
export class DrainPause {
  readonly #clock: Clock;
  readonly #batch: Batch;
  readonly #arrivals: Arrivals;
  readonly #shortest: Duration;
  readonly #longest: Duration;
  readonly #alarm = new Alarm();
  /** Read again after this time, at a beat, if something may arrive. */
  #pause: Duration;
  /** The sockets whose arrivals are announced. */
  #announced: Found['sockets'] = [];
  /** How many signals there had been when they were first announced. */
  #signalsBefore = 0;
  /** Whether the last pause was a long one. */
  #wasLong = false;
  /** Something was read after a long pause without a signal. The signal may still be on its way to the event loop. */
  #isInDoubt = false;

  /** @param options replaced in tests */
  constructor(
    clock: Clock,
    batch: Batch,
    { arrivals = allArrivals, shortest = SHORTEST_PAUSE, longest = LONGEST_PAUSE } = {},
  ) {
    this.#clock = clock;
    this.#batch = batch;
    this.#arrivals = arrivals;
    this.#shortest = shortest;
    this.#longest = longest;
    this.#pause = shortest;
  }

  /** Resolves when the sockets should be read again, or when `signal` aborts. */
  async sleep({ read, sockets, isWaiting }: Found, signal: AbortSignal): Promise<void> {
    const clock = this.#clock;
    const arrivals = this.#arrivals;
    const hasRead = read > 0;
    this.#adapt(read);
    this.#doubt(hasRead);
    const now = clock.monotonic();
    if (hasRead || isWaiting) arrivals.lastAt = now;
    const isQuiet = now - arrivals.lastAt >= QUIET_AFTER && !arrivals.areSilent;
    if (isQuiet && sockets.length > 0 && isSame(sockets, this.#announced)) {
      await arrivals.sleep(this.#alarm, clock, untilBeat(clock, LONGEST_QUIET_PAUSE), signal);
      this.#wasLong = true;
      if (arrivals.lastAt < now) return;
      this.#announce([]); // otherwise each of many datagrams would send a signal
      await clock.sleep(GATHERING, signal);
      return;
    }
    // Earlier datagrams are not announced, so the sockets are read once more, at once, before a long pause.
    if (!this.#announce(isQuiet ? sockets : [])) await clock.sleep(untilBeat(clock, this.#pause), signal);
  }

  #adapt(read: number): void {
    const { many, few } = this.#batch;
    if (read > many) this.#pause = milliseconds(Math.max(this.#shortest, this.#pause / 2));
    else if (read < few) this.#pause = milliseconds(Math.min(this.#longest, this.#pause * 2));
  }

  #doubt(hasRead: boolean): void {
    const hadSignal = this.#arrivals.signals !== this.#signalsBefore;
    if (this.#isInDoubt && !hadSignal) this.#arrivals.areSilent = true;
    this.#isInDoubt = this.#wasLong && hasRead && !hadSignal;
    this.#wasLong = false;
  }

  /** Lets the arrivals at these sockets be announced, and no others. @returns whether all are; if not, none is */
  #announce(sockets: Found['sockets']): boolean {
    for (const socket of this.#announced) socket.announceArrivals(false);
    this.#announced = [];
    if (sockets.length === 0) return false;
    this.#arrivals.listen(this.#clock);
    this.#signalsBefore = this.#arrivals.signals;
    this.#announced = [...sockets];
    if (this.#announced.every((socket) => socket.announceArrivals(true))) return true;
    return this.#announce([]);
  }
}

const isSame = (some: Found['sockets'], others: Found['sockets']): boolean =>
  some.length === others.length && some.every((socket, index) => socket === others[index]);
