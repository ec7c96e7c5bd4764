import { type Duration, milliseconds, seconds } from '../../../base/duration.ts';
import type { SocketAddress } from '../../../contract/streams.ts';
import type { ConnectedSocket } from '../sock-diag.ts';

/** TCP_TIMEWAIT_LEN of net/tcp.h: how long the kernel keeps a closed connection in TIME-WAIT. */
const TIME_WAIT = seconds(60);
/** For the granularity of the kernel's clocks. */
const TOLERANCE = milliseconds(20);
/** Sockets kept per peer. With more, the port of a closed connection is not determined. */
const MAX_PER_PEER = 64;

interface OfPeer {
  /** The first MAX_PER_PEER of them. */
  readonly sockets: ConnectedSocket[];
  count: number;
  /** Whether all of them have the same local address. */
  isOneAddress: boolean;
  /** Of the one that was closed last. */
  keptFor: number;
}

/** The minimum time for which the kernel still keeps a socket that was closed within the last `age`. */
export const leastKeptFor = (age: Duration): Duration => milliseconds(TIME_WAIT - age - TOLERANCE);

/** Closed TCP connections that the kernel still keeps in TIME-WAIT or similar states. */
export class ClosedSockets {
  readonly #byPeer = new Map<string, OfPeer>();

  add(socket: ConnectedSocket): void {
    const key = textOf(socket.remote);
    const known = this.#byPeer.get(key);
    const { keptFor = 0 } = socket;
    if (known === undefined) {
      this.#byPeer.set(key, { sockets: [socket], count: 1, isOneAddress: true, keptFor });
      return;
    }
    known.count += 1;
    known.keptFor = Math.max(known.keptFor, keptFor);
    if (known.sockets[0]?.local.address !== socket.local.address) known.isOneAddress = false;
    if (known.sockets.length < MAX_PER_PEER) known.sockets.push(socket);
  }

  /** Whether a connection with this peer was closed within the last `age`. */
  has(peer: SocketAddress, age: Duration): boolean {
    const { keptFor } = this.#byPeer.get(textOf(peer)) ?? NONE;
    return keptFor >= leastKeptFor(age);
  }

  /**
   * The local end of a closed connection with this peer. Sockets that closed before the connection was made are ruled out;
   * of the rest, the address and port that they have in common are returned.
   *
   * @param age time since the connection was made
   */
  endOf(peer: SocketAddress, age: Duration): Partial<SocketAddress> {
    const { sockets, count, isOneAddress } = this.#byPeer.get(textOf(peer)) ?? NONE;
    const left = sockets.filter(({ keptFor = 0 }) => keptFor >= leastKeptFor(age));
    const [first] = left;
    if (first === undefined || !isOneAddress) return {};
    const { port, ...withoutPort } = first.local;
    return left.length === 1 && count === sockets.length ? first.local : withoutPort;
  }
}

const NONE: OfPeer = { sockets: [], count: 0, isOneAddress: true, keptFor: Number.NEGATIVE_INFINITY };

/** An address and port as a key for comparison. */
export const textOf = ({ address, port }: SocketAddress): string => `${address} ${port}`;
