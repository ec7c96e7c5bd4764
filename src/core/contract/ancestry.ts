/** A moment in the stream of starts: time by the kernel's clock, and the serial of its audit event if it has one. */
export interface StartMoment {
  /** In milliseconds since the epoch. */
  readonly time: number;
  /** Exact, unlike the time: events of one millisecond have an order. Wraps at 2^32. */
  readonly serial?: number | undefined;
}

/** A process as it was at some moment. It may have executed another program or exited since. */
export interface ProcessThen {
  readonly pid: number;
  /** Path of its program, from the kernel. */
  readonly executable: string;
  /** Its arguments joined by spaces; absent when unknown. */
  readonly commandLine?: string | undefined;
  /** The first arguments with their bounds. Only known for root's processes. */
  readonly argv?: readonly string[] | undefined;
  /** Its user, if the real and the effective id are the same. */
  readonly userId?: number | undefined;
  /** 0 when unknown. */
  readonly parentPid: number;
  /** When it began to run this program; absent when that was not seen. */
  readonly since?: StartMoment | undefined;
}

/** Facts about processes that a user cannot forge. Bounded, and nothing waits; `undefined` means unknown. */
export interface Ancestry {
  /** What a process was at a moment. A process that has executed no program is a copy of its parent. */
  processAt(pid: number, moment: StartMoment): ProcessThen | undefined;
}

export interface FileFacts {
  /** Whether only root can have put a file of the host at this path: neither the file nor a folder is another user's. */
  isRootOwned(path: string): boolean;
  /**
   * Whether a process runs the host's own file at this path, in the host's user namespace. `undefined` when it has ended.
   *
   * @param sameMounts whether it must also see the host's other files, such as scripts
   */
  runsHostFile(pid: number, path: string, sameMounts: boolean): boolean | undefined;
}
