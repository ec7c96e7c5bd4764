import { lookup } from 'node:dns/promises';
import { isIP, isIPv6 } from 'node:net';
import { untilAborted } from './limited.ts';

/** Resolves a name to its addresses, best first. */
export type LookUp = (host: string) => Promise<readonly string[]>;

/** The system's own: it knows /etc/hosts and mDNS, which DNS does not, and sorts by RFC 6724. */
const systemLookUp: LookUp = async (host) => {
  const found = await lookup(host, { all: true, verbatim: true });
  return found.map(({ address }) => address);
};

/** A name with more addresses than this has them for other purposes than to be reached. */
const MAX_ADDRESSES = 32;

/** Resolves names, each by at most one lookup at a time. */
export class Names {
  readonly #lookUp: LookUp;
  /** A lookup can't be cancelled, and occupies one of libuv's four threads until the resolver gives up. */
  readonly #running = new Map<string, Promise<readonly string[]>>();

  constructor(lookUp: LookUp = systemLookUp) {
    this.#lookUp = lookUp;
  }

  /** The addresses in the order in which they are to be tried: IPv4 and IPv6 alternate (RFC 8305, 4). */
  async addressesOf(host: string, signal: AbortSignal): Promise<readonly string[]> {
    if (isIP(host) !== 0) return [host];
    signal.throwIfAborted();
    const running = this.#running.get(host) ?? this.#start(host);
    const addresses = await untilAborted<readonly string[]>(signal, (resolve, reject) => running.then(resolve, reject));
    if (addresses.length === 0) {
      throw Object.assign(new Error(`getaddrinfo ENOTFOUND ${host}`), { code: 'ENOTFOUND' });
    }
    return interleave(addresses).slice(0, MAX_ADDRESSES);
  }

  #start(host: string): Promise<readonly string[]> {
    const running = this.#lookUp(host).finally(() => this.#running.delete(host));
    this.#running.set(host, running);
    return running;
  }
}

/** Alternates the families, beginning with the first address's. */
function interleave(addresses: readonly string[]): string[] {
  const isFirst = (address: string) => isIPv6(address) === isIPv6(addresses[0] ?? '');
  const first = addresses.filter(isFirst);
  const other = addresses.filter((address) => !isFirst(address));
  const length = Math.max(first.length, other.length);
  return Array.from({ length }, (_, index) => [first[index], other[index]])
    .flat()
    .filter((address) => address !== undefined);
}
