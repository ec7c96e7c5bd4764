import { readOptional } from '../../../core/base/bounded-file.ts';
import type { Clock } from '../../../core/base/clock.ts';
import { LONG_AGO, milliseconds, seconds } from '../../../core/base/duration.ts';
import type { Lookups } from '../../../core/contract/lookups.ts';

/** Ten thousand addresses. */
const MAX_BYTES = 1024 * 1024;

/**
 * Names of the interfaces that have an IPv6 address, by index. Lines of /proc/net/if_inet6: address, index, prefix
 * length, scope and flags in hex, name.
 * ```
 * fe800000000000000222c0fffe2b8f52 02 40 20 80     eth0
 * ```
 */
export function parseInterfaces(text: string): Map<number, string> {
  const names = new Map<number, string>();
  for (const line of text.split('\n')) {
    const [, index, name] = /^[0-9a-f]{32} ([0-9a-f]{1,8}) [0-9a-f]+ [0-9a-f]+ [0-9a-f]+ +(\S+)$/.exec(line) ?? [];
    if (index !== undefined && name !== undefined) names.set(Number.parseInt(index, 16), name);
  }
  return names;
}

/**
 * Names of the interfaces that link-local addresses can belong to. /proc/net shows the network namespace of this process,
 * like its sockets; sysfs would show the one it was mounted in.
 */
export const interfaceNames = (proc = '/proc'): Map<number, string> =>
  parseInterfaces(readOptional(`${proc}/net/if_inet6`, MAX_BYTES) ?? '');

/** Whether an interface to outside has an IPv6 address, in the network namespace of this process. */
export const hasIpv6 = (proc = '/proc'): boolean => [...interfaceNames(proc).values()].some((name) => name !== 'lo');

/** How long a cached answer is used. */
const CHECK_EVERY = seconds(1);

/** Like `interfaceNames`, for single indexes; the file is read at most once per second. */
export class Interfaces implements Pick<Lookups, 'interfaceName'> {
  readonly #clock: Clock;
  readonly #proc: string;
  #names = new Map<number, string>();
  #checkAt = LONG_AGO;

  constructor({ clock, proc = '/proc' }: { clock: Clock; proc?: string }) {
    this.#clock = clock;
    this.#proc = proc;
  }

  interfaceName(index: number): string | undefined {
    const now = this.#clock.monotonic();
    if (now >= this.#checkAt) {
      this.#checkAt = milliseconds(now + CHECK_EVERY);
      this.#names = interfaceNames(this.#proc);
    }
    return this.#names.get(index);
  }
}
