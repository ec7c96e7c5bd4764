import type { LogLine } from '../base/log.ts';
import type { BaselineReport } from './baseline.ts';
import type { QueueName } from './event.ts';
import type { SettingId } from './settings.ts';

/* What the agent reads: streams of things that happen, and snapshots of what is. linux/ makes them, collectors/ say
 * what they mean. Everything here has been bounded and decoded, but is still hostile input in content. */

/** One end of a connection. */
export interface SocketAddress {
  /** IP text, RFC 5952, without a zone; a v4-mapped address as v4. */
  readonly address: string;
  readonly port: number;
  /** Index of the interface that a link-local address belongs to. */
  readonly interfaceIndex?: number;
}

/** A process, at the moment it began to run a program: what it is looked up by. */
export interface StartedProcess {
  readonly pid: number;
  readonly parentPid: number;
  /** Effective user id. */
  readonly userId: number;
  /** The user who logged in to start it; absent for services, and where the source doesn't say. */
  readonly loginUserId?: number | undefined;
  /**
   * Path of its image, as the kernel says it: with ` (deleted)` behind when no file has that name any more. Absent when
   * /proc/PID/exe can't be read (another user's process, without privileges).
   */
  readonly executable?: string | undefined;
  /** Absent when only the start of its process is known, or that it runs now. */
  readonly startedAt?: Date | undefined;
}

/** A program that was started: a process began to run it. */
export interface ProcessStarted extends StartedProcess {
  /** `startedAt`; where that isn't known, when the process started, right to 10 ms. */
  readonly time: Date;
  /** Of the audit event that reported it; absent for other sources. */
  readonly serial?: number | undefined;
  /** Arguments joined by one blank, the first being the name it was called by; empty when they could not be read. */
  readonly commandLine: string;
  /** The same one by one, where they are known. To be copied by whoever keeps them: they may be parts of a longer text. */
  readonly argv?: readonly string[] | undefined;
  /** Bytes of the arguments that were left out, since there are more than 128 KiB of them; absent when none. */
  readonly commandLineBytesCut?: number | undefined;
  /** Why the arguments could not be read. */
  readonly commandLineUnread?: UnreadReason | undefined;
  /** Working directory; this and the next two are known from audit only. */
  readonly cwd?: string | undefined;
  /** Its controlling terminal, such as `pts0`; absent when it has none. */
  readonly terminal?: string | undefined;
  /** The image's digest as IMA measured it, `sha256:…`. */
  readonly imaHash?: string | undefined;
}

/**
 * Why a process's arguments are unknown. `ended`: before they were read. `hung`: the process blocks whoever reads them.
 * `avoided`: reading this process, or several of its user, hung before. `unavailable`: there was no reader.
 */
export type UnreadReason = 'ended' | 'hung' | 'avoided' | 'unavailable';

/** A process that has ended: the whole of it, not one of its threads. */
export interface ProcessEnded {
  readonly time: Date;
  readonly pid: number;
  /** The program it last ran; absent when its start wasn't seen. */
  readonly executable?: string;
  /** What it gave to exit(2), 0 to 255; 128 and the signal's number when a signal ended it. */
  readonly exitStatus: number;
  /** `SIGKILL`: what ended it. */
  readonly signal?: string;
}

/** A connection that was made (`Out`: connect(2) worked or is under way) or taken (`In`: accept(2) worked). */
export interface ConnectionSeen {
  readonly time: Date;
  /** Of the audit event that reported it. */
  readonly serial?: number;
  readonly direction: 'In' | 'Out';
  readonly protocol: 'TCP' | 'UDP';
  readonly remote: SocketAddress;
  /** Absent when the socket was closed before it could be asked. */
  readonly local?: Partial<SocketAddress>;
  readonly pid: number;
  readonly parentPid: number;
  /** Effective user id. */
  readonly userId: number;
  readonly executable: string;
  /** Absent when the start of the process wasn't seen, and it has ended. */
  readonly commandLine?: string;
  /** Made by io_uring: then it is unknown whether it worked, and the protocol is given as TCP. */
  readonly byRing?: true;
}

/** A login, a logout, or one that failed: one for each, however many records there are of it. */
export interface LoginSeen {
  readonly time: Date;
  /** Of the audit event that reported it first; absent where the source has none. */
  readonly serial?: number;
  /** `Login`, `Logout`, or what the record calls it: `PAM:authentication`. */
  readonly operation: string;
  readonly success: boolean;
  /** The process that lets in; 0 where the source doesn't say. */
  readonly pid: number;
  /** Path of that program; where only a service's name is known, that; else `unknown`. */
  readonly executable: string;
  /** At least one of these two is present. The name of an unknown account is the one that was tried. */
  readonly userId?: number;
  readonly userName?: string;
  readonly remote?: Partial<SocketAddress>;
  /** The interface that a link-local address belongs to. */
  readonly zone?: string;
  /** What the record calls the other host. */
  readonly remoteHost?: string;
  readonly localPort?: number;
  readonly terminal?: string;
  /** The audit session, or the one of the login records. */
  readonly sessionId?: string;
  /** The process that wrote the record: it claims all but `pid` and `sessionId`. Absent for login files. */
  readonly reporter?: LoginReporter;
}

/** A process that has written an audit record, as the agent has found it. */
export interface LoginReporter {
  /** By the kernel's word. */
  readonly pid: number;
  /** The program it runs; absent when it had ended before that was read, and its start wasn't seen. */
  readonly executable?: string;
  /** The container it is in. */
  readonly containerId?: string;
}

/** A desired configuration, or a part of one, that could not be obeyed to the letter. */
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
}

export type StreamName = keyof Streams;

/**
 * Why something that happened can't become a record: lost before it could be read (`kernel`), not to be understood any
 * more once it was (`unresolved`), held in memory when an earlier run was killed (`killed`), or broken (`malformed`).
 */
export type LossReason = 'kernel' | 'unresolved' | 'killed' | 'malformed';

/** Takes what a source has read. Synchronous: when it returns, the batch has been counted and written. */
export interface StreamSink {
  accept<K extends StreamName>(stream: K, records: readonly Streams[K][]): void;
  /**
   * Counts what can't become a record.
   *
   * @param stream the one that it would have been in; several when it is unknown which of them
   */
  drop(stream: StreamName | readonly StreamName[], reason: LossReason, count: number): void;
}

/** How a source stands, for the status and `vakt check`. Names as in contract §2. */
export interface SourceStatus {
  readonly state: 'on' | 'off' | 'degraded' | 'unavailable';
  /** `auditUnicast`, `procPolling`, `sockDiag`, `files`, … */
  readonly source?: string;
  /** Why it isn't the best one, and what would mend it. */
  readonly reason?: string;
}

/** How the last listing of a snapshot's source went. */
export interface ListingStatus extends SourceStatus {
  /**
   * How many entries are not in the list, since it has a limit; absent when it is whole. A list that was cut is `degraded`,
   * and its reason says the number, too.
   */
  readonly leftOut?: number;
}

/**
 * Why a program's digest is left out: `size`: its file is longer than 256 MiB; `budget`: there is no time for it now, or it
 * is read in the background, for a later start; `mount`: it is not on a file system that this machine's kernel answers
 * for, so that reading it could take for ever; `unreadable`: its file is gone, has changed since, may not be read, or is
 * in a container that the process has left nothing else of.
 */
export type HashOmitted = 'size' | 'budget' | 'unreadable' | 'mount';

/** What can be looked up about an event's subject. Cached, and bounded in what it costs; `undefined` is "not known". */
export interface Lookups {
  /**
   * To be called when a batch of records has been read, and before anything is asked about it: all that it tells of has
   * happened by then, so one look serves for all of it. Whoever calls this does so for every batch.
   */
  newBatch(): void;
  /** The account's name, or `undefined` when no local account has that id. */
  userName(userId: number): string | undefined;
  /** The container a process runs in: 64 hexadecimal digits, or what its runtime calls it. Best effort. */
  containerId(pid: number, parentPid: number): string | undefined;
  /** What there is to know of a program that has just been started. Best effort. */
  started(process: StartedProcess): {
    readonly containerId: string | undefined;
    /** SHA-256 of its image, in hexadecimal. Not known of a large file the first time, or when there is too much to do. */
    readonly sha256: string | undefined;
    /** Why that is `undefined`. */
    readonly hashOmitted?: HashOmitted | undefined;
  };
  /** The name of a network interface. */
  interfaceName(index: number): string | undefined;
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
  /** The program that a login starts; absent when the entry names none. */
  readonly shell?: string;
  /** What the shadow file says of its password; absent when that can't be read. */
  readonly password?: 'set' | 'locked' | 'empty';
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
  /** Version of the firmware; of a board without one, that of its boot loader. */
  readonly biosVersion?: string;
  /** Who made the firmware and the machine, and what it is: from DMI or the device tree. */
  readonly biosVendor?: string;
  readonly machineVendor?: string;
  readonly machineModel?: string;
  /** `UEFI`, `BIOS` or `device tree`: how the firmware started the kernel. */
  readonly firmware?: string;
  /** Whether UEFI checked what it started; absent where it doesn't tell. */
  readonly secureBoot?: boolean;
  readonly kernelVersion?: string;
  /** What the system runs on: `kvm`, `vmware`, … , by systemd-detect-virt's names; absent on bare metal. */
  readonly hypervisor?: string;
  /** What the agent runs in: `docker`, `podman`, `systemd-nspawn`, … ; absent outside of containers. */
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
  /** The part of the kernel that holds it: nftables, where iptables-nft puts its rules too, or the tables of legacy iptables. */
  readonly origin: 'nftables' | 'iptables';
  /** `ip`, `ip6`, `inet`, `bridge`, `arp` or `netdev`. */
  readonly family: string;
  readonly table: string;
  readonly chain: string;
  /** Whether packets can come by: false for a chain that no hook and no jump reaches, and for a dormant table. */
  readonly enabled: boolean;
  readonly action: 'Allow' | 'Deny' | 'Other';
  /** What happens to a packet, as the tool writes it: `accept`, `DROP`, `jump NAME`, `log prefix "x"`, `policy accept`, … */
  readonly target: string;
  /** 0-based within its chain; a policy comes behind the last rule. */
  readonly priority: number;
  /** The hook that packets come from, when it is input or output, and all of them come from there. */
  readonly direction?: 'In' | 'Out';
  /** Several values are joined with `,`; `!` before them means all others, `@` the name of a set. The same for the next three. */
  readonly sourceAddress?: string;
  readonly sourcePort?: string;
  readonly destinationAddress?: string;
  readonly destinationPort?: string;
  /** Lower case name, else the number. */
  readonly protocol?: string;
  /** Every other match, by name, as text: `in-interface`, `ct state`, … Of a policy: what else there is to say of the chain. */
  readonly matches: Readonly<Record<string, string>>;
}

/** A piece of hardware that the kernel knows. Texts are readable, whatever the device says of itself. */
export interface HardwareDevice {
  /** How it is attached (`PCI`, `USB`, `I2C` …) or what it does (`Block`, `Network`, `Input` …). */
  readonly category: string;
  /** What kind within it: a class of PCI or USB, `Hard disk`, `Ethernet`, `Keyboard`, … */
  readonly subCategory: string;
  /** What it is called: by itself, by its maker's and its own number, or by the kernel. */
  readonly name: string;
  /** Its own number, or that of what it hangs on, in hexadecimal; a display's is three letters. The same for the next. */
  readonly vendorId?: string;
  readonly productId?: string;
  readonly serial?: string;
  /** Several are joined with `, `. */
  readonly driver?: string;
  /** Where it is attached: `0000:00:1f.2`, `1-1.4`, … */
  readonly bus?: string;
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
  readonly sockets: {
    /** Those that can be reached from outside first. */
    listening(signal: AbortSignal): Promise<readonly ListeningSocket[]>;
    status(): ListingStatus;
  };
  readonly accounts: { list(signal: AbortSignal): Promise<readonly Account[]>; status(): ListingStatus };
  readonly system: { facts(): Promise<SystemFacts> };
  readonly firewall: { rules(signal: AbortSignal): Promise<readonly FirewallRule[]>; status(): ListingStatus };
  readonly hardware: { devices(signal: AbortSignal): Promise<readonly HardwareDevice[]>; status(): ListingStatus };
  readonly baseline: { scan(signal: AbortSignal): Promise<BaselineReport>; status(): SourceStatus };
  readonly statistics: {
    /** Both queues, zero or not. Asking starts the next period. */
    queues(): Promise<readonly QueueStatistics[]>;
    messages(): Promise<MessageStatistics>;
  };
}
