import { isLoopback } from '../../host/ip-address.ts';
import type { WaitingSocket } from './sock-diag.ts';

/** Per user, for sockets reachable from outside and for the others each. Limits memory. */
const MAX_PER_USER = 20_000;
/** For all users together, about 8 MB. */
const MAX_ENTRIES = 50_000;

/**
 * Keeps listening sockets as the kernel lists them, within limits. Sockets beyond the limits are counted.
 *
 * A socket that is reachable from outside replaces one that is not, and a user never replaces sockets of another: no
 * program can hide a socket by opening many others.
 */
export class SocketSelection {
  readonly #outside: WaitingSocket[] = [];
  readonly #loopback: WaitingSocket[] = [];
  readonly #counts = new Map<string, number>();
  /** Each distinct address once, to save memory: usually there are few. */
  readonly #addresses = new Map<string, string>();
  #leftOut = 0;

  add(socket: WaitingSocket): void {
    const isInside = isLoopback(socket.localAddress);
    const kind = `${isInside} ${socket.userId}`;
    const count = this.#counts.get(kind) ?? 0;
    const total = this.#outside.length + this.#loopback.length;
    if (count >= MAX_PER_USER || (total >= MAX_ENTRIES && (isInside || this.#loopback.length === 0))) {
      this.#leftOut += 1;
      return;
    }
    if (total >= MAX_ENTRIES) {
      this.#loopback.pop();
      this.#leftOut += 1;
    }
    this.#counts.set(kind, count + 1);
    (isInside ? this.#loopback : this.#outside).push({ ...socket, localAddress: this.#shared(socket.localAddress) });
  }

  /** Number of sockets beyond the limits. */
  get leftOut(): number {
    return this.#leftOut;
  }

  /** Sockets reachable from outside. */
  get outside(): readonly WaitingSocket[] {
    return this.#outside;
  }

  /** Sockets reachable from this host only. */
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
