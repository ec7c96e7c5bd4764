import { type Duration, milliseconds, seconds } from '../../../base/duration.ts';
import type { SocketAddress } from '../../../contract/sources.ts';
import type { ConnectedSocket } from '../sock-diag.ts';

/** How long the kernel keeps what is left of a closed socket: TCP_TIMEWAIT_LEN of net/tcp.h. */
const TIME_WAIT = seconds(60);
/** For the grain of the kernel's clocks. */
const TOLERANCE = milliseconds(20);
/** With more of the same peer, they aren't told apart any more. */
const MOST_OF_A_PEER = 64;

interface OfPeer {
  /** The first ones. */
  readonly sockets: ConnectedSocket[];
  count: number;
  /** Whether all have the same address. */
  isOneAddress: boolean;
}

/** For how long, at least, the kernel still keeps a socket that was closed within this age. */
export const leastKeptFor = (age: Duration): Duration => milliseconds(TIME_WAIT - age - TOLERANCE);

/** What the kernel keeps of TCP connections that were closed. */
export class ClosedSockets {
  readonly #byPeer = new Map<string, OfPeer>();

  add(socket: ConnectedSocket): void {
    const key = textOf(socket.remote);
    const known = this.#byPeer.get(key);
    if (known === undefined) {
      this.#byPeer.set(key, { sockets: [socket], count: 1, isOneAddress: true });
      return;
    }
    known.count += 1;
    if (known.sockets[0]?.local.address !== socket.local.address) known.isOneAddress = false;
    if (known.sockets.length < MOST_OF_A_PEER) known.sockets.push(socket);
  }

  /**
   * The local end of a connection with this peer that has been closed. Those that were closed before it was made are others;
   * what all the rest have in common is its own.
   *
   * @param age how long ago it was made
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

const NONE: OfPeer = { sockets: [], count: 0, isOneAddress: true };

/** One end, to be compared with others. */
export const textOf = ({ address, port }: SocketAddress): string => `${address} ${port}`;
