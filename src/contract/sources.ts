import type { LogLine } from '../base/log.ts';
import type { BaselineReport } from './baseline.ts';
import type { AlertLevel, Payload, QueueName } from './event.ts';
import type { SettingId } from './settings.ts';

/* The facts that the agent reads: streams of things that happen, and snapshots of state. linux/ reads them, collectors/
 * turn them into payloads. They have been bounded and decoded, but their content is still hostile input. */

/** One end of a connection. */
export interface SocketAddress {
  /** IP text, RFC 5952, without a zone; a v4-mapped address as v4. */
  readonly address: string;
  readonly port: number;
  /** Index of the interface that a link-local address belongs to. */
  readonly interfaceIndex?: number;
}

/** Identifies a process at the moment it began to run a program, for look-ups. */
export interface StartedProcess {
  readonly pid: number;
  readonly parentPid: number;
  /** Effective user id. */
  readonly userId: number;
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
  /** Arguments joined by one blank, argv[0] first; empty if they could not be read. */
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

/** A process that has ended: all of its threads. */
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

/** A rule of the detections matched; or an update, which counts further matches. Texts are bounded, secrets redacted. */
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
  /** What to do about it. */
  readonly remediation: string;
  /** Further facts, for ExtraDetails. */
  readonly details?: Readonly<Record<string, string>>;
}

/** A desired setting, or a whole configuration, that was refused or changed. */
export interface ConfigurationFault {
  readonly time: Date;
  /** As the module twin writes it. */
  readonly name: string;
  readonly type: 'TypeMismatch' | 'NotOptimal' | 'Conflict';
  /** The value in force, as JSON text. */
  readonly used: string;
  readonly message: string;
}

/** The same, of a setting by its id, for parts that do not know how the module twin names it. */
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
 * Why something that happened can't become a record. `kernel`: lost before it could be read. `unresolved`: its process
 * or socket was gone before its details were read. `killed`: held in memory when an earlier run was killed.
 * `malformed`: its record was broken. `cacheFull`: it was a line of the agent's log above the limits for such lines.
 */
export type LossReason = 'kernel' | 'unresolved' | 'killed' | 'malformed' | 'cacheFull';

/** Receives the records of a source. Synchronous: when `accept` returns, the batch has been counted and queued. */
export interface StreamSink {
  accept<K extends StreamName>(stream: K, records: readonly Streams[K][]): void;
  /**
   * Counts losses.
   *
   * @param stream the stream of the lost records; several if it is unknown which of them
   */
  drop(stream: StreamName | readonly StreamName[], reason: LossReason, count: number): void;
  /** Whether what was accepted is still worked on: a source does not note it as read yet. Absent: it never is. */
  isBehind?(): boolean;
}

/** The state of a source, for the status and `vakt check`. Names as in contract §2. */
export interface SourceStatus {
  readonly state: 'on' | 'off' | 'degraded' | 'unavailable';
  /** `auditUnicast`, `procPolling`, `sockDiag`, `files`, … */
  readonly source?: string;
  /** Why a better source is not used, and what would fix that. */
  readonly reason?: string;
}

/** The state of a snapshot's source at the last listing. */
export interface ListingStatus extends SourceStatus {
  /**
   * How many entries were left out because the list has a limit; absent if it is complete. A list that was cut is
   * `degraded`, and its reason contains the number.
   */
  readonly leftOut?: number;
}

/**
 * Why a program has no digest. `size`: its file is larger than 256 MiB. `budget`: the hashing budget is used up, or the
 * file is hashed in the background, for a later start. `mount`: it is on a network or FUSE file system, where reading
 * could block for ever. `unreadable`: its file is gone, was changed since, may not be read, or is in a container that
 * the process was the last one of.
 */
export type HashOmitted = 'size' | 'budget' | 'unreadable' | 'mount';

/** Look-ups about an event's subject. Cached, with bounded cost; `undefined` means unknown. */
export interface Lookups {
  /**
   * To be called for every batch of records, after it was read and before anything is looked up: what is read from the
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

/** A listening TCP socket, or a bound and unconnected UDP socket. */
export interface ListeningSocket {
  readonly protocol: 'tcp' | 'tcp6' | 'udp' | 'udp6';
  /** IP text, RFC 5952, without a zone; a v4-mapped address as v4. */
  readonly localAddress: string;
  readonly localPort: number;
  /** The interface that a link-local address belongs to. */
  readonly zone?: string;
  readonly userId: number;
  /** The process that holds it; absent if none is visible. */
  readonly pid?: number;
  readonly executable?: string;
}

export interface Account {
  readonly name: string;
  readonly userId: number;
  readonly primaryGroupId: number;
  /** The program that a login starts; absent if the entry has none. */
  readonly shell?: string;
  /** The state of its password in the shadow file; absent if that can't be read. */
  readonly password?: 'set' | 'locked' | 'empty';
  /** Its groups, the primary one first. The name of an unknown group is its id. */
  readonly groups: readonly { readonly id: number; readonly name: string }[];
}

/** Facts about the machine; unknown ones are absent. Sizes in units of 1024 bytes. */
export interface SystemFacts {
  readonly osName?: string;
  readonly osVersion?: string;
  readonly osVendor?: string;
  readonly architecture: string;
  readonly hostName: string;
  /** Version of the firmware; on a board without firmware, of its boot loader. */
  readonly biosVersion?: string;
  /** This and the next two are from DMI or the device tree. */
  readonly biosVendor?: string;
  readonly machineVendor?: string;
  readonly machineModel?: string;
  /** How the firmware started the kernel: `UEFI`, `BIOS` or `device tree`. */
  readonly firmware?: string;
  /** Whether UEFI Secure Boot is enabled; absent if unknown. */
  readonly secureBoot?: boolean;
  readonly kernelVersion?: string;
  /**
   * The hypervisor that the system runs on, named as by systemd-detect-virt: `kvm`, `vmware`, …; absent on bare metal.
   */
  readonly hypervisor?: string;
  /** The container that the agent runs in: `docker`, `podman`, `systemd-nspawn`, …; absent outside of containers. */
  readonly container?: string;
  readonly bootDevice?: string;
  readonly totalPhysicalMemoryInKB?: number;
  readonly freePhysicalMemoryInKB?: number;
  /** Physical memory and swap together. */
  readonly totalVirtualMemoryInKB?: number;
  readonly freeVirtualMemoryInKB?: number;
}

/** One rule of a packet filter, or the policy at the end of a base chain. */
export interface FirewallRule {
  /** The kernel's subsystem that holds it: nftables, also for rules of iptables-nft, or legacy iptables. */
  readonly origin: 'nftables' | 'iptables';
  /** `ip`, `ip6`, `inet`, `bridge`, `arp` or `netdev`. */
  readonly family: string;
  readonly table: string;
  readonly chain: string;
  /** Whether packets can reach it: false for a chain that no hook and no jump reaches, and for a dormant table. */
  readonly enabled: boolean;
  readonly action: 'Allow' | 'Deny' | 'Other';
  /**
   * What happens to a packet, as the tool writes it: `accept`, `DROP`, `jump NAME`, `log prefix "x"`, `policy accept`,
   * …
   */
  readonly target: string;
  /** Position within its chain, from 0; the policy follows the last rule. */
  readonly priority: number;
  /** Set if all packets reach it from the input hook, or all from the output hook. */
  readonly direction?: 'In' | 'Out';
  /** Several values are joined with `,`; a leading `!` negates them, `@` names a set. The same for the next three. */
  readonly sourceAddress?: string;
  readonly sourcePort?: string;
  readonly destinationAddress?: string;
  readonly destinationPort?: string;
  /** Lower case name, else the number. */
  readonly protocol?: string;
  /**
   * All other matches, by name, as text: `in-interface`, `ct state`, … For a policy: further properties of the chain.
   */
  readonly matches: Readonly<Record<string, string>>;
}

/** A device that the kernel knows. Texts are printable, even if the device reports others. */
export interface HardwareDevice {
  /** The bus that it is attached to (`PCI`, `USB`, `I2C` …) or its function (`Block`, `Network`, `Input` …). */
  readonly category: string;
  /** The kind within the category: a class of PCI or USB, `Hard disk`, `Ethernet`, `Keyboard`, … */
  readonly subCategory: string;
  /** The name that the device reports, else its vendor and product id, else the kernel's name. */
  readonly name: string;
  /** Its id, or that of its parent device, in hexadecimal; three letters for a display. The same for the next. */
  readonly vendorId?: string;
  readonly productId?: string;
  readonly serial?: string;
  /** Several are joined with `, `. */
  readonly driver?: string;
  /** Where it is attached: `0000:00:1f.2`, `1-1.4`, … */
  readonly bus?: string;
}

/** Events of one queue in the current period. */
export interface QueueStatistics {
  readonly queue: QueueName;
  readonly collected: number;
  readonly dropped: number;
  readonly droppedBy: Readonly<Record<string, number>>;
}

/** Messages in the current period. */
export interface MessageStatistics {
  readonly sent: number;
  /** Of `sent`, those of fewer than 4096 bytes on the wire. */
  readonly under4KB: number;
  /** Attempts to send that the hub did not accept. */
  readonly failed: number;
}

/** Tells at little cost whether a source's listing may have changed. */
interface Traced {
  /**
   * A text that differs from the one before when the listing may differ. It is made of dates of files, a number that the kernel
   * counts up, or one list of the kernel: no tool is run, and no folder is searched. `undefined`: the source can't tell.
   */
  trace(signal: AbortSignal): Promise<string | undefined>;
}

/** The sources of snapshots, for Periodic collectors. Each rejects with an AgentError when it can't be read. */
export interface Sources {
  readonly sockets: Traced & {
    /** Sockets that can be reached from outside come first. */
    listening(signal: AbortSignal): Promise<readonly ListeningSocket[]>;
    status(): ListingStatus;
  };
  readonly accounts: Traced & { list(signal: AbortSignal): Promise<readonly Account[]>; status(): ListingStatus };
  readonly system: { facts(signal: AbortSignal): Promise<SystemFacts> };
  readonly firewall: Traced & {
    rules(signal: AbortSignal): Promise<readonly FirewallRule[]>;
    status(): ListingStatus;
  };
  readonly hardware: Traced & {
    devices(signal: AbortSignal): Promise<readonly HardwareDevice[]>;
    status(): ListingStatus;
  };
  readonly baseline: { scan(signal: AbortSignal): Promise<BaselineReport>; status(): SourceStatus };
  readonly statistics: {
    /** Always both queues. Each call starts a new period; the same for `messages`. */
    queues(): Promise<readonly QueueStatistics[]>;
    messages(): Promise<MessageStatistics>;
  };
}
