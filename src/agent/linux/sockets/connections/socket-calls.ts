import type { AuditEvent } from '../../audit/event.ts';
import type { AuditRule } from '../../audit/rules.ts';
import { AF_INET, AF_INET6 } from '../../audit/socket-address.ts';

/** The call that socketcall(2) is to make, by its first argument: linux/net.h. */
const SOCKETCALLS: ReadonlyMap<number, Name> = new Map<number, Name>([
  [1, 'socket'],
  [3, 'connect'],
  [5, 'accept'],
  [18, 'accept'],
]);

/** The audit rules that report connections. */
export const CONNECTION_RULES: readonly AuditRule[] = [
  // Without a filter on success: io_uring records do not have it.
  { syscalls: ['connect'], ringOperations: ['connect'], where: { saddr_fam: AF_INET } },
  { syscalls: ['connect'], ringOperations: ['connect'], where: { saddr_fam: AF_INET6 } },
  { syscalls: ['accept', 'accept4'], where: { success: 1 } },
  // socket(2) shows whether the socket is TCP or UDP.
  { syscalls: ['socket'], where: { a0: AF_INET, success: 1 } },
  { syscalls: ['socket'], where: { a0: AF_INET6, success: 1 } },
  // socketcall(2) of older 32-bit programs.
  ...[...SOCKETCALLS.keys()].map((a0) => ({ syscalls: ['socketcall'], where: { a0 } })),
];

/** The protocol of a socket; `other` is anything but TCP and UDP over IP. */
export type Protocol = 'TCP' | 'UDP' | 'other';

/** A successful system call that made a socket or a connection. An unknown descriptor is -1. */
export type SocketCall = MakeSocket | Connect | Accept;

interface MakeSocket {
  readonly call: 'socket';
  readonly fd: number;
  readonly protocol: Protocol;
}

export interface Connect {
  readonly call: 'connect';
  readonly fd: number;
  /** Whether connect(2) returned before the connection was established. */
  readonly underWay: boolean;
}

export interface Accept {
  readonly call: 'accept';
  /** Descriptor of the connection. */
  readonly fd: number;
  readonly listener: number;
}

type Name = SocketCall['call'];

const NAMES: ReadonlyMap<string, Name> = new Map<string, Name>([
  ['socket', 'socket'],
  ['connect', 'connect'],
  ['accept', 'accept'],
  ['accept4', 'accept'],
]);

/** Bits of a socket's type that aren't flags: SOCK_TYPE_MASK of linux/net.h. */
const TYPE_BITS = 0xf;
/**
 * IPPROTO_*, 0 being the type's own. By SOCK_STREAM (1) and SOCK_DGRAM (2). Multipath TCP (262) and SMC (256, since Linux 6.11)
 * connect by TCP.
 */
const PROTOCOLS: Readonly<Record<number, ReadonlyMap<number, Protocol>>> = {
  1: new Map([0, 6, 256, 262].map((number) => [number, 'TCP'])),
  2: new Map([0, 17].map((number) => [number, 'UDP'])),
};

/**
 * Results of connect(2) that lead to a connection: success, or it continues in the background because the socket is
 * non-blocking (EINPROGRESS) or a signal interrupted the wait (EINTR; POSIX: "the connection shall be established
 * asynchronously").
 */
const UNDER_WAY = new Set(['-115', '-4']);

/** @returns `undefined` when the event is another system call, or one that failed */
export function socketCallOf({ syscall, success, fields, socketcall }: AuditEvent): SocketCall | undefined {
  if (syscall === undefined) return undefined;
  const byMultiplexer = syscall === 'socketcall';
  const call = byMultiplexer ? SOCKETCALLS.get(hexadecimal(fields.a0)) : NAMES.get(syscall);
  if (call === undefined) return undefined;
  const argument = (index: 0 | 1 | 2): number =>
    byMultiplexer ? (socketcall?.[index] ?? -1) : hexadecimal(fields[`a${index}`]);
  if (call === 'connect') {
    const underWay = UNDER_WAY.has(fields.exit ?? '');
    return success || underWay ? { call, fd: descriptor(argument(0)), underWay } : undefined;
  }
  if (!success) return undefined;
  const fd = descriptor(Number(fields.exit));
  if (call === 'accept') return { call, fd, listener: descriptor(argument(0)) };
  return { call, fd, protocol: protocolOf(argument(0), argument(1), argument(2)) };
}

function protocolOf(family: number, type: number, protocol: number): Protocol {
  if (family !== AF_INET && family !== AF_INET6) return 'other';
  return PROTOCOLS[type & TYPE_BITS]?.get(protocol) ?? 'other';
}

/** An argument in the SYSCALL record: a whole register, of which these calls use the lower 32 bits. */
const hexadecimal = (text: string | undefined): number =>
  text !== undefined && /^[0-9a-f]{1,16}$/.test(text) ? Number.parseInt(text.slice(-8), 16) : -1;

const descriptor = (n: number): number => (Number.isInteger(n) && n >= 0 && n < 2 ** 31 ? n : -1);
