import { isLoopback } from '../../../core/contract/ip-network.ts';
import { ownerOfId, portClass } from '../../../core/contract/owner.ts';
import type { WaitingSocket } from './sock-diag.ts';

/** Per owner, for sockets reachable from outside and for the others each. Limits memory. */
const MAX_PER_OWNER = 20_000;
/** For all owners together, about 8 MB. */
const MAX_ENTRIES = 50_000;
/** Up to this number, an owner's sockets are not given up for sockets of another kind. */
const FEW = 64;
/** Sockets of root that are kept before all others. */
const ROOT_SHARE = 1_024;
/** Beyond this number of classes, sockets that are left out are counted in all only. */
const MAX_CLASSES = 256;

/**
 * Keeps listening sockets as the kernel lists them, within limits. Sockets beyond the limits are counted.
 *
 * When it is full, a new socket takes the place of one of the owner who has the most, so that no program can hide another
 * owner's socket by opening many. An owner is a user; all ids of a block of subordinate ids are one owner, since one user can
 * have sockets of 65,536 such ids. A socket that is reachable from outside also replaces one that is not.
 */
export class SocketSelection {
  readonly #outside = new Piles();
  readonly #loopback = new Piles();
  /** Each distinct address once, to save memory: usually there are few. */
  readonly #addresses = new Map<string, string>();
  #leftOut = 0;
  readonly #leftOutBy = new Map<string, number>();

  add(socket: WaitingSocket): void {
    const isInside = isLoopback(socket.localAddress);
    const piles = isInside ? this.#loopback : this.#outside;
    const owner = ownerOfId(socket.userId);
    const isFull = this.#outside.count + this.#loopback.count >= MAX_ENTRIES;
    const isTooMany = piles.sizeOf(owner) >= MAX_PER_OWNER;
    if (isFull || isTooMany) {
      const replaced = isTooMany ? undefined : this.#replacedBy(owner, isInside);
      const given = replaced?.pop();
      this.#leaveOut(
        given === undefined ? portClass(isInside, socket.userId) : portClass(replaced === this.#loopback, given.userId),
      );
      if (given === undefined) return;
    }
    piles.push(owner, { ...socket, localAddress: this.#shared(socket.localAddress) });
  }

  /** Number of sockets beyond the limits. */
  get leftOut(): number {
    return this.#leftOut;
  }

  /** How many of each class; `undefined` if there are too many classes. */
  get leftOutBy(): Readonly<Record<string, number>> | undefined {
    return this.#leftOutBy.size > MAX_CLASSES ? undefined : Object.fromEntries(this.#leftOutBy);
  }

  #leaveOut(name: string): void {
    this.#leftOut += 1;
    if (this.#leftOutBy.size <= MAX_CLASSES) this.#leftOutBy.set(name, (this.#leftOutBy.get(name) ?? 0) + 1);
  }

  /** Sockets reachable from outside. */
  get outside(): readonly WaitingSocket[] {
    return this.#outside.all();
  }

  /** Sockets reachable from this host only. */
  get loopback(): readonly WaitingSocket[] {
    return this.#loopback.all();
  }

  /** Where a socket is given up for one of this owner; `undefined` when the new one is left out. */
  #replacedBy(owner: number, isInside: boolean): Piles | undefined {
    const [outside, loopback] = [this.#outside, this.#loopback];
    const kind = isInside ? loopback : outside;
    const load = kind.loadOf(owner);
    const isFairer = kind.largest > load + 1;
    if (!isInside && loopback.largest > FEW) return loopback;
    if (isFairer && kind.largest > FEW) return kind;
    if (isInside && load < FEW && outside.largest > FEW) return outside;
    if (!isInside && load < FEW && loopback.count > 0) return loopback;
    return isFairer ? kind : undefined;
  }

  #shared(address: string): string {
    const known = this.#addresses.get(address);
    if (known !== undefined) return known;
    if (this.#addresses.size < 1_000) this.#addresses.set(address, address);
    return address;
  }
}

const ROOT = 0;

/** Sockets by owner. Adds one, and gives up one of the owner who has the most, in constant time. */
class Piles {
  /** Number of sockets of all owners. */
  count = 0;
  readonly #piles = new Map<number, WaitingSocket[]>();
  /** The owners of each load. Arrays, since finding the first entry of a Set takes long after many have been deleted. */
  readonly #byLoad = new Map<number, number[]>();
  /** Where each owner is in the array of its load. */
  readonly #places = new Map<number, number>();
  #largest = -ROOT_SHARE;

  sizeOf(owner: number): number {
    return this.#piles.get(owner)?.length ?? 0;
  }

  /** The number of sockets by which owners are compared: of root's, only those beyond its share count. Can be negative. */
  loadOf(owner: number): number {
    return this.sizeOf(owner) - (owner === ROOT ? ROOT_SHARE : 0);
  }

  /** The largest load. */
  get largest(): number {
    return this.#largest;
  }

  push(owner: number, socket: WaitingSocket): void {
    const pile = this.#piles.get(owner);
    if (pile === undefined) this.#piles.set(owner, [socket]);
    else pile.push(socket);
    this.#moved(owner, 1);
  }

  /** Removes the last socket of an owner with the largest load. */
  pop(): WaitingSocket | undefined {
    const owner = this.#byLoad.get(this.#largest)?.at(-1);
    if (owner === undefined) return undefined;
    const socket = this.#piles.get(owner)?.pop();
    this.#moved(owner, -1);
    return socket;
  }

  all(): readonly WaitingSocket[] {
    return [...this.#piles.values()].flat();
  }

  #moved(owner: number, by: 1 | -1): void {
    const load = this.loadOf(owner);
    this.count += by;
    this.#leave(load - by, owner);
    if (this.sizeOf(owner) > 0) this.#join(load, owner);
    else this.#piles.delete(owner);
    if (load > this.#largest) this.#largest = load;
    while (this.count > 0 && !this.#byLoad.has(this.#largest)) this.#largest -= 1;
  }

  #join(load: number, owner: number): void {
    const owners = this.#byLoad.get(load) ?? [];
    if (owners.length === 0) this.#byLoad.set(load, owners);
    this.#places.set(owner, owners.length);
    owners.push(owner);
  }

  #leave(load: number, owner: number): void {
    const owners = this.#byLoad.get(load);
    const place = this.#places.get(owner);
    const last = owners?.at(-1);
    if (owners === undefined || place === undefined || last === undefined) return;
    owners[place] = last;
    this.#places.set(last, place);
    owners.pop();
    this.#places.delete(owner);
    if (owners.length === 0) this.#byLoad.delete(load);
  }
}
