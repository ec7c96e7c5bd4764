import type { LogLine } from '../base/log.ts';
import type { AlertLevel, Payload } from './event.ts';
import type { SettingId } from './settings.ts';

/* Occurrences as streams of records. linux/ reads most of them, collectors/ turn them into payloads. They have been
 * bounded and decoded, but their content is still hostile input. */

/** One end of a connection. */
export interface SocketAddress {
  /** IP text, RFC 5952, without a zone; a v4-mapped address as v4. */
  readonly address: string;
  readonly port: number;
  /** Index of the interface that a link-local address belongs to. */
  readonly interfaceIndex?: number;
}

/** Identifies a process at the moment it started to run a program, for lookups. */
export interface StartedProcess {
  readonly pid: number;
  readonly parentPid: number;
  /** Effective user id. */
  readonly userId: number;
  /** The user who started a set-user-id program; absent if it is the effective one, or the source doesn't provide it. */
  readonly realUserId?: number | undefined;
  /** The user of the login session that it belongs to; absent for services, and if the source doesn't provide it. */
  readonly loginUserId?: number | undefined;
  /**
   * Path of its image, as the kernel provides it: followed by ` (deleted)` if the file was removed or replaced. Absent
   * if /proc/PID/exe can't be read (another user's process, without privileges).
   */
  readonly executable?: string | undefined;
  /** When the program was executed; absent if unknown, for example for a process that was found running. */
  readonly startedAt?: Date | undefined;
}

/** A program that was started: a process began to run it. */
export interface ProcessStarted extends StartedProcess {
  /** `startedAt`; if that is unknown, the start time of the process, accurate to 10 ms. */
  readonly time: Date;
  /** Serial number of the audit event that reported it; absent for other sources. */
  readonly serial?: number | undefined;
  /** Arguments joined by one space, argv[0] first; empty if they could not be read. */
  readonly commandLine: string;
  /**
   * The same as a list, if known. Copy them before keeping them: they may be slices that keep a longer text in memory.
   */
  readonly argv?: readonly string[] | undefined;
  /** Bytes of arguments that were cut, since they exceed 128 KiB; absent if none. */
  readonly commandLineBytesCut?: number | undefined;
  /** Why the arguments could not be read. */
  readonly commandLineUnread?: UnreadReason | undefined;
  /** Working directory; only from audit. */
  readonly cwd?: string | undefined;
  /** Its controlling terminal, such as `pts0`; only from audit. Absent if it has none. */
  readonly terminal?: string | undefined;
  /** The image's digest as IMA measured it, `sha256:…`; only from audit. */
  readonly imaHash?: string | undefined;
}

/**
 * Why a process's arguments are unknown. `ended`: it ended before they were read. `hung`: reading them hung. `avoided`:
 * not tried, since reading from this process, or from several of the same user, hung before. `unavailable`: no reader
 * process.
 */
export type UnreadReason = 'ended' | 'hung' | 'avoided' | 'unavailable';

/** A process that has exited: all of its threads. */
export interface ProcessEnded {
  readonly time: Date;
  readonly pid: number;
  /** The program that it last ran; absent if its start was not seen. */
  readonly executable?: string;
  /** The argument of exit(2), 0 to 255; if a signal ended it, 128 plus the signal's number. */
  readonly exitStatus: number;
  /** The signal that ended it, such as `SIGKILL`. */
  readonly signal?: string;
}

/**
 * An outbound connection (`Out`: connect(2) succeeded or is in progress) or an inbound one (`In`: accept(2) succeeded).
 */
export interface ConnectionSeen {
  readonly time: Date;
  /** Serial number of the audit event that reported it. */
  readonly serial?: number;
  readonly direction: 'In' | 'Out';
  readonly protocol: 'TCP' | 'UDP';
  readonly remote: SocketAddress;
  /** Absent if the socket was closed before its address was read. */
  readonly local?: Partial<SocketAddress>;
  readonly pid: number;
  readonly parentPid: number;
  /** Effective user id. */
  readonly userId: number;
  readonly executable: string;
  /** Absent if the start of the process was not seen and it has ended. */
  readonly commandLine?: string;
  /** Made by io_uring: whether it succeeded is unknown, and TCP is assumed. */
  readonly byRing?: true;
}

/** A login, a logout, or a failed attempt, reported once even if several records are about it. */
export interface LoginSeen {
  readonly time: Date;
  /** Serial number of the audit event that reported it first; absent if the source has none. */
  readonly serial?: number;
  /** `Login`, `Logout`, or the record's own word: `PAM:authentication`. */
  readonly operation: string;
  readonly success: boolean;
  /** The process that handles the login, such as sshd; 0 if the source doesn't provide it. */
  readonly pid: number;
  /** Path of that process's program, or the name of its service if only that is known, else `unknown`. */
  readonly executable: string;
  /** At least one of these two is set. For an unknown account, the name that was tried. */
  readonly userId?: number;
  readonly userName?: string;
  readonly remote?: Partial<SocketAddress>;
  /** The interface that a link-local address belongs to. */
  readonly zone?: string;
  /** The remote host, as written in the record. */
  readonly remoteHost?: string;
  readonly localPort?: number;
  readonly terminal?: string;
  /** The audit session, or the session of the login files. */
  readonly sessionId?: string;
  /** The process that wrote the record. It controls all fields but `pid` and `sessionId`. Absent for login files. */
  readonly reporter?: LoginReporter;
}

/** The process that wrote an audit record. */
export interface LoginReporter {
  /** From the kernel, so it can't be forged. */
  readonly pid: number;
  /** The program that it runs; absent if it ended before that was read, and its start was not seen. */
  readonly executable?: string;
  /** The container that it runs in. */
  readonly containerId?: string;
  /** It ended before its container was looked up, on a host with containers. */
  readonly isUnlocated?: true;
}

/** A rule of the detections matched; or an update, which counts further matches. Strings are bounded, secrets redacted. */
export interface AlertRaised {
  readonly time: Date;
  /** UUID; the same in updates. */
  readonly alertId: string;
  /** `IoT_…` for an alert of the published catalogue, else `VAKT_…`. */
  readonly alertType: string;
  readonly severity: AlertLevel;
  readonly rule: {
    readonly id: string;
    readonly title: string;
    readonly source: 'builtin' | 'local';
    readonly author?: string;
  };
  /** Of MITRE ATT&CK: names of tactics, ids of techniques. */
  readonly tactics: readonly string[];
  readonly techniques: readonly string[];
  /** How often the rule has matched. */
  readonly count: number;
  readonly firstSeen: Date;
  readonly lastSeen: Date;
  /** Name of the event that the alert is about, and ids of such events. */
  readonly event: string;
  readonly eventIds: readonly string[];
  /** The payload of that event. */
  readonly subject: Payload;
  readonly parentExecutable?: string;
  readonly parentCommandLine?: string;
  /** The trusted actor on whose behalf it happened, such as `dpkg`. */
  readonly during?: string;
  /** Names of the rule's selections that matched, joined by `;`. */
  readonly selection?: string;
  /** What to do about it. */
  readonly remediation: string;
  /** Further facts, for ExtraDetails. */
  readonly details?: Readonly<Record<string, string>>;
}

/** A desired setting, or a whole configuration, that was rejected or changed. */
export interface ConfigurationFault {
  readonly time: Date;
  /** As the module twin writes it. */
  readonly name: string;
  readonly type: 'TypeMismatch' | 'NotOptimal' | 'Conflict';
  /** The effective value, as JSON text. */
  readonly used: string;
  readonly message: string;
}

/** A rejected or changed setting by its id, for parts that do not know its name in the module twin. */
export interface SettingFault extends Omit<ConfigurationFault, 'name'> {
  readonly setting: SettingId;
}

/** The streams of things that happen. A collector of Triggered events translates one of them. */
export interface Streams {
  readonly starts: ProcessStarted;
  readonly exits: ProcessEnded;
  readonly connections: ConnectionSeen;
  readonly logins: LoginSeen;
  readonly log: LogLine;
  readonly configuration: ConfigurationFault;
  readonly alerts: AlertRaised;
}

export type StreamName = keyof Streams;

/**
 * Why an occurrence can't become a record. `kernel`: lost before it could be read. `unresolved`: its process or socket
 * no longer existed when its details were read. `killed`: held in memory when an earlier run was killed. `malformed`:
 * its record was broken. `cacheFull`: it was a line of the agent's log above the limits for such lines. `excluded`: a
 * start by a user who floods audit.
 */
export type LossReason = 'kernel' | 'unresolved' | 'killed' | 'malformed' | 'cacheFull' | 'excluded';

/** Receives the records of a source. Synchronous: when `accept` returns, the batch has been counted and queued. */
export interface StreamSink {
  accept<K extends StreamName>(stream: K, records: readonly Streams[K][]): void;
  /**
   * Counts losses.
   *
   * @param stream the stream of the lost records; several if it is unknown which of them
   */
  drop(stream: StreamName | readonly StreamName[], reason: LossReason, count: number): void;
  /**
   * Whether accepted records are still being processed, so that a source must not mark them as read. If omitted, never.
   */
  isBehind?(): boolean;
}

/** A user makes so many audit events that some are lost, or that the starts of their programs are excluded. */
export interface AuditFlood {
  readonly time: Date;
  /** The real user id; of a block of subordinate ids, the first one. */
  readonly userId: number;
  /** Events of all users that were lost within five minutes. */
  readonly lost: number;
  /** The user's share of the records that arrived, in percent. */
  readonly share: number;
  /** Set when the kernel no longer reports starts by this user: until when at the latest. */
  readonly excludedUntil?: Date | undefined;
}
