import type { SocketAddress } from '../../../core/contract/streams.ts';

/** The fields of one audit record, by name; quotes removed and hex text decoded (to UTF-8, invalid bytes as U+FFFD). */
export type AuditFields = Readonly<Record<string, string | undefined>>;

/** Types of records that programs write through libaudit, as far as they are used; see ausearch-expression(5). */
export const USER_RECORDS = {
  USER_AUTH: 1100,
  USER_ACCT: 1101,
  USER_START: 1105,
  USER_END: 1106,
  USER_ERR: 1109,
  USER_LOGIN: 1112,
  USER_LOGOUT: 1113,
} as const;
export type UserRecord = keyof typeof USER_RECORDS;

/** All records of one serial, combined. */
export interface AuditEvent {
  /** When the kernel recorded it, in milliseconds since the epoch's resolution. */
  readonly time: Date;
  /** Counts up by one per event since boot, and wraps at 2^32. */
  readonly serial: number;
  /**
   * Set when a program wrote the record, and not a system call: then `fields` are the record's. `pid`, `uid`, `auid` and
   * `ses` come from the kernel; all others are what that program claims.
   */
  readonly record?: UserRecord;
  /** Name of a requested system call (`execve`), else its number as text; absent without a SYSCALL record. */
  readonly syscall?: string;
  /** Whether the caller was a 64- or a 32-bit program. */
  readonly abi?: 'b64' | 'b32';
  /** `success=yes` of the system call, or `res=success` of a program's record. */
  readonly success: boolean;
  /** The fields used of the SYSCALL record (CALL_FIELDS of linux/audit/record.ts), or of `record`. */
  readonly fields: AuditFields;
  /** Arguments of an execve, in order; absent when the EXECVE records are missing. */
  readonly argv?: readonly string[];
  /** The same joined by one space. Does not keep the record in memory. */
  readonly commandLine?: string;
  /** Bytes of the arguments that were left out, beyond 128 KiB; absent when none. */
  readonly argvBytesCut?: number;
  /** Working directory, from the CWD record. */
  readonly cwd?: string;
  /** The internet address passed to or returned by the call (SOCKADDR record); absent for other families. */
  readonly address?: SocketAddress;
  /** Arguments of a call that went through socketcall(2), from the SOCKETCALL record. */
  readonly socketcall?: readonly number[];
  /**
   * Number of io_uring connects that the event reports (URINGOP records); absent when none. The kernel records the address of
   * the last one only, and no results. If the event has no SYSCALL record, since a kernel thread took the request, `fields`
   * come from the URINGOP record, which has no `exe`, and `success` is meaningless.
   */
  readonly ringConnects?: number;
  /** The image's digest as IMA measured it, `sha256:…` (INTEGRITY_RULE record). */
  readonly imaHash?: string;
}

/** Whether a program was started. Its arguments may be missing. */
export const isStart = ({ syscall, success }: AuditEvent): boolean =>
  success && (syscall === 'execve' || syscall === 'execveat');

/** Receives what a source of audit events has read. Synchronous: the batch is passed on when it returns. */
export interface AuditSink {
  accept(events: readonly AuditEvent[]): void;
  /** Events that were lost before they could be read. */
  lost(count: number): void;
}
