import type { LogLine } from '../base/log.ts';
import type { QueueName } from './event.ts';

/* What the agent reads: streams of things that happen, and snapshots of what is. linux/ makes them, collectors/ say
 * what they mean. Everything here has been bounded and decoded, but is still hostile input in content. */

/** The fields of one audit record, by name; quotes removed and hex text decoded (to UTF-8, invalid bytes as U+FFFD). */
export type AuditFields = Readonly<Record<string, string | undefined>>;

/** All records of one serial, put together. */
export interface AuditEvent {
  /** When the kernel recorded it, in milliseconds since the epoch's resolution. */
  readonly time: Date;
  /** Counts up by one per event since boot, and wraps at 2^32. */
  readonly serial: number;
  /** The system call's name for those this agent asks for (`execve`), else its number as text; absent without SYSCALL record. */
  readonly syscall?: string;
  /** Whether the caller was a 64- or a 32-bit program. */
  readonly abi?: 'b64' | 'b32';
  /** Of the system call: `success=yes`. */
  readonly success: boolean;
  /** Fields of the SYSCALL record, as far as anyone reads them (CALL_FIELDS of linux/audit/record.ts). */
  readonly fields: AuditFields;
  /** Arguments of an execve, in order; absent when the EXECVE records are missing. */
  readonly argv?: readonly string[];
  /** Bytes of the arguments that were left out, since there are more than 128 KiB of them; absent when none. */
  readonly argvBytesCut?: number;
  /** Working directory, from the CWD record. */
  readonly cwd?: string;
}

/** What the kernel is asked to report: these system calls, of every program, for both of the machine's ABIs. */
export interface AuditRule {
  /** Names as auditctl(8) knows them. */
  readonly syscalls: readonly string[];
}

/** A process that /proc polling saw for the first time. */
export interface ProcessSeen {
  /** When it started, from /proc/PID/stat and the boot time: right to 10 ms. */
  readonly time: Date;
  readonly pid: number;
  readonly parentPid: number;
  /** Effective user id. */
  readonly userId: number;
  /** Path of its image; absent when /proc/PID/exe can't be read (another user's process, without privileges). */
  readonly executable?: string;
  readonly argv: readonly string[];
}

/** A desired configuration, or a part of one, that could not be obeyed to the letter. */
export interface ConfigurationFault {
  readonly time: Date;
  readonly name: string;
  readonly type: 'TypeMismatch' | 'NotOptimal' | 'Conflict';
  /** The value in force, as JSON text. */
  readonly used: string;
  readonly message: string;
}

/** The streams of things that happen. A collector of Triggered events translates one or more of them. */
export interface Streams {
  readonly audit: AuditEvent;
  readonly processes: ProcessSeen;
  readonly log: LogLine;
  readonly configuration: ConfigurationFault;
}

/** Takes what a source has read. Synchronous: when it returns, the batch has been counted and written. */
export interface StreamSink {
  accept<K extends keyof Streams>(stream: K, records: readonly Streams[K][]): void;
  /** Events that the kernel or the source lost before they could be read. */
  lost(count: number): void;
}

/** How a source stands, for the status and `vakt check`. Names as in contract §2. */
export interface SourceStatus {
  readonly state: 'on' | 'off' | 'degraded' | 'unavailable';
  /** `auditUnicast`, `procPolling`, `sockDiag`, `files`, … */
  readonly source?: string;
  /** Why it isn't the best one, and what would mend it. */
  readonly reason?: string;
}

/** Names of the host's ids. Cached; asking is cheap. */
export interface Lookups {
  /** The account's name, or `undefined` when no local account has that id. */
  userName(userId: number): string | undefined;
}

/** A socket that waits for others: a listening TCP one, or a bound and unconnected UDP one. */
export interface ListeningSocket {
  readonly protocol: 'tcp' | 'tcp6' | 'udp' | 'udp6';
  /** IP text, RFC 5952, without a zone; a v4-mapped address as v4. */
  readonly localAddress: string;
  readonly localPort: number;
  /** The interface a link-local address belongs to. */
  readonly zone?: string;
  readonly userId: number;
  /** The process that holds it; absent when none can be seen. */
  readonly pid?: number;
  readonly executable?: string;
}

export interface Account {
  readonly name: string;
  readonly userId: number;
  readonly primaryGroupId: number;
  /** Its groups, the primary one first. A group without a name has its id as name. */
  readonly groups: readonly { readonly id: number; readonly name: string }[];
}

/** What there is to know of the machine; a fact that can't be had is absent. Sizes in units of 1024 bytes. */
export interface SystemFacts {
  readonly osName?: string;
  readonly osVersion?: string;
  readonly osVendor?: string;
  readonly architecture: string;
  readonly hostName: string;
  readonly biosVersion?: string;
  readonly bootDevice?: string;
  readonly totalPhysicalMemoryInKB?: number;
  readonly freePhysicalMemoryInKB?: number;
  /** Physical memory and swap together. */
  readonly totalVirtualMemoryInKB?: number;
  readonly freeVirtualMemoryInKB?: number;
}

/** What one queue took in and gave up since this was last asked. */
export interface QueueStatistics {
  readonly queue: QueueName;
  readonly collected: number;
  readonly dropped: number;
  readonly droppedBy: Readonly<Record<string, number>>;
}

/** Messages since this was last asked. */
export interface MessageStatistics {
  readonly sent: number;
  /** Of `sent`, those of fewer than 4096 bytes on the wire. */
  readonly under4KB: number;
  /** Attempts that the hub didn't accept. */
  readonly failed: number;
}

/** The snapshots Periodic collectors take their facts from. Each rejects with an AgentError when it can't be read. */
export interface Sources {
  readonly sockets: { listening(signal: AbortSignal): Promise<readonly ListeningSocket[]>; status(): SourceStatus };
  readonly accounts: { list(): Promise<readonly Account[]> };
  readonly system: { facts(): Promise<SystemFacts> };
  readonly statistics: {
    /** Both queues, zero or not. Asking starts the next period. */
    queues(): Promise<readonly QueueStatistics[]>;
    messages(): Promise<MessageStatistics>;
  };
}
