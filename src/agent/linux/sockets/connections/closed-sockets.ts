import { type Duration, LONG_AGO, milliseconds, seconds } from '../../../../core/base/duration.ts';
import type { SocketAddress } from '../../../../core/contract/streams.ts';
import type { ConnectedSocket } from '../sock-diag.ts';

/** TCP_TIMEWAIT_LEN of net/tcp.h: how long the kernel keeps a closed connection in TIME-WAIT. */
const TIME_WAIT = seconds(60);
/** For the granularity of the kernel's clocks. */
const TOLERANCE = milliseconds(20);
/** Sockets kept per peer. With more, the port of a closed connection is not determined. */
const MAX_PER_PEER = 64;

interface Closed {
  readonly local: SocketAddress;
  /** Monotonic time. */
  readonly at: Duration;
}

interface OfPeer {
  /** The first MAX_PER_PEER of them. */
  readonly sockets: Closed[];
  count: number;
  /** Whether all of them have the same local address. */
  isOneAddress: boolean;
  /** When the last of them was closed. */
  last: Duration;
}

/** The minimum time for which the kernel still keeps a socket that was closed within the last `age`. */
export const leastKeptFor = (age: Duration): Duration => milliseconds(TIME_WAIT - age - TOLERANCE);

/** Closed TCP connections that the kernel still keeps in TIME-WAIT or similar states. */
export class ClosedSockets {
  readonly #byPeer = new Map<string, OfPeer>();

  /** @param now when it was listed, or later, by the monotonic clock */
  add({ local, remote, keptFor = 0 }: ConnectedSocket, now: Duration): void {
    const key = textOf(remote);
    const known = this.#byPeer.get(key);
    const at = milliseconds(now - (TIME_WAIT - keptFor));
    if (known === undefined) {
      this.#byPeer.set(key, { sockets: [{ local, at }], count: 1, isOneAddress: true, last: at });
      return;
    }
    known.count += 1;
    known.last = milliseconds(Math.max(known.last, at));
    if (known.sockets[0]?.local.address !== local.address) known.isOneAddress = false;
    if (known.sockets.length < MAX_PER_PEER) known.sockets.push({ local, at });
  }

  /** Whether a connection with this peer was closed after `since`, by the monotonic clock. */
  has(peer: SocketAddress, since: Duration): boolean {
    const { last } = this.#byPeer.get(textOf(peer)) ?? NONE;
    return last >= since - TOLERANCE;
  }

  /**
   * The local end of a closed connection with this peer. Sockets that closed before the connection was made are ruled out;
   * of the rest, the address and port that they have in common are returned.
   *
   * @param madeAt when the connection was made, by the monotonic clock
   */
  endOf(peer: SocketAddress, madeAt: Duration): Partial<SocketAddress> {
    const { sockets, count, isOneAddress } = this.#byPeer.get(textOf(peer)) ?? NONE;
    const left = sockets.filter(({ at }) => at >= madeAt - TOLERANCE);
    const [first] = left;
    if (first === undefined || !isOneAddress) return {};
    const { port, ...withoutPort } = first.local;
    return left.length === 1 && count === sockets.length ? first.local : withoutPort;
  }
}

const NONE: OfPeer = { sockets: [], count: 0, isOneAddress: true, last: LONG_AGO };

/** An address and port as a key for comparison. */
export const textOf = ({ address, port }: SocketAddress): string => `${address} ${port}`;
