import type { BaselineReport } from './baseline.ts';
import type { QueueName } from './event.ts';

/* The state that snapshots are made of, and the status of every source. linux/ reads most of it, collectors/ turn it into
 * payloads. It has been bounded and decoded, but its content is still hostile input. */

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
   * Number of entries that were omitted because the list has a limit; absent if it is complete. The source of a
   * truncated list is `degraded`, and its reason contains the number.
   */
  readonly leftOut?: number;
  /** How many of each class of rows; absent if that is unknown. For ports, see port-class.ts. */
  readonly leftOutBy?: Readonly<Record<string, number>>;
}

/** A listening TCP socket, or a bound and unconnected UDP socket. */
export interface ListeningSocket {
  readonly protocol: 'tcp' | 'tcp6' | 'udp' | 'udp6';
  /** IP text, RFC 5952, without a zone; a v4-mapped address as v4. */
  readonly localAddress: string;
  readonly localPort: number;
  /** The interface that a link-local address belongs to. */
  readonly zone?: string | undefined;
  readonly userId: number;
  /** The process that holds it; absent if none is visible. */
  readonly pid?: number | undefined;
  readonly executable?: string | undefined;
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
  /** This and the next three are ID, ID_LIKE, VERSION_CODENAME and BUILD_ID of os-release(5). */
  readonly osId?: string;
  readonly osIdLike?: string;
  readonly osCodename?: string;
  readonly osBuildId?: string;
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
  readonly direction?: 'In' | 'Out' | undefined;
  /** Several values are joined with `,`; a leading `!` negates them, `@` names a set. The same for the next three. */
  readonly sourceAddress?: string | undefined;
  readonly sourcePort?: string | undefined;
  readonly destinationAddress?: string | undefined;
  readonly destinationPort?: string | undefined;
  /** Lower case name, else the number. */
  readonly protocol?: string | undefined;
  /**
   * All other matches, by name, as text: `in-interface`, `ct state`, … For a policy: further properties of the chain.
   */
  readonly matches: Readonly<Record<string, string>>;
}

/** A device that the kernel has registered. Its strings are made printable. */
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

/** Detects at little cost whether a source's listing may have changed. */
interface Traced {
  /**
   * A string that changes when the listing may have changed. It is made from file dates, a counter of the kernel or one
   * list of the kernel: no tool is run, and no folder is searched. `undefined` if the source can't detect changes.
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
