import type { StartedProcess } from './streams.ts';

/**
 * Why a program has no digest. `size`: its file is larger than 256 MiB. `budget`: the hashing budget is used up, or the
 * file is hashed in the background, for a later start. `mount`: it is on a network or FUSE file system, where reading
 * could block forever. `unreadable`: its file was removed or changed since, must not be read, or is in a container
 * whose last process has exited.
 */
export type HashOmitted = 'size' | 'budget' | 'unreadable' | 'mount';

/** Lookups about an event's subject. Cached, with bounded cost; `undefined` means unknown. */
export interface Lookups {
  /**
   * Call this for every batch of records, after reading it and before any lookup: data read from the
   * system is then cached for the whole batch.
   */
  newBatch(): void;
  /** The account's name, or `undefined` when no local account has that id. */
  userName(userId: number): string | undefined;
  /** The container that a process runs in: 64 hexadecimal digits, or the runtime's name for it. Best effort. */
  containerId(pid: number, parentPid: number): string | undefined;
  /** Container and digest of a program that has just been started. Best effort. */
  started(process: StartedProcess): {
    readonly containerId: string | undefined;
    /**
     * SHA-256 of its image, in hexadecimal. `undefined` for a large file at first, or if the hashing budget is used up.
     */
    readonly sha256: string | undefined;
    /** Why that is `undefined`. */
    readonly hashOmitted?: HashOmitted | undefined;
  };
  /** The name of a network interface. */
  interfaceName(index: number): string | undefined;
}
