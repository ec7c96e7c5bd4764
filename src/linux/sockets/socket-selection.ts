import { isLoopback } from '../../host/ip-address.ts';
import type { WaitingSocket } from './sock-diag.ts';

/** Of one user, among those that can be reached from outside, and among the others: more would take memory. */
const MOST_OF_A_USER = 20_000;
/** Of all users together, about 8 MB. */
const MOST = 50_000;

/**
 * Keeps waiting sockets as the kernel lists them, within limits. What goes over them is counted.
 *
 * A socket that can be reached from outside takes the place of one that can't, and no user takes the place of another:
 * any program may open as many sockets as it likes, so that one of its own, or another's, is not seen.
 */
export class SocketSelection {
  readonly #outside: WaitingSocket[] = [];
  readonly #loopback: WaitingSocket[] = [];
  readonly #counts = new Map<string, number>();
  /** One text for each address: mostly there are few. */
  readonly #addresses = new Map<string, string>();
  #leftOut = 0;

  add(socket: WaitingSocket): void {
    const isInside = isLoopback(socket.localAddress);
    const kind = `${isInside} ${socket.userId}`;
    const count = this.#counts.get(kind) ?? 0;
    const total = this.#outside.length + this.#loopback.length;
    if (count >= MOST_OF_A_USER || (total >= MOST && (isInside || this.#loopback.length === 0))) {
      this.#leftOut += 1;
      return;
    }
    if (total >= MOST) {
      this.#loopback.pop();
      this.#leftOut += 1;
    }
    this.#counts.set(kind, count + 1);
    (isInside ? this.#loopback : this.#outside).push({ ...socket, localAddress: this.#shared(socket.localAddress) });
  }

  /** How many are not kept. */
  get leftOut(): number {
    return this.#leftOut;
  }

  /** Those that can be reached from outside. */
  get outside(): readonly WaitingSocket[] {
    return this.#outside;
  }

  /** Those that only programs of this machine reach. */
  get loopback(): readonly WaitingSocket[] {
    return this.#loopback;
  }

  #shared(address: string): string {
    const known = this.#addresses.get(address);
    if (known !== undefined) return known;
    if (this.#addresses.size < 1_000) this.#addresses.set(address, address);
    return address;
  }
}
