import type { AuditEvent } from '../../audit/event.ts';
import type { AuditRule } from '../../audit/rules.ts';

/** What audit is asked for to report connections. */
export const CONNECTION_RULES: readonly AuditRule[] = [
  // Not only those that worked: the records of io_uring don't say so.
  { syscalls: ['connect'], ringOperations: ['connect'], where: { saddr_fam: 2 } },
  { syscalls: ['connect'], ringOperations: ['connect'], where: { saddr_fam: 10 } },
  { syscalls: ['accept', 'accept4'], where: { success: 1 } },
  // A socket's making says whether it is TCP or UDP.
  { syscalls: ['socket'], where: { a0: 2, success: 1 } },
  { syscalls: ['socket'], where: { a0: 10, success: 1 } },
  // The same calls by older 32-bit programs: socket, connect, accept, accept4.
  ...[1, 3, 5, 18].map((a0) => ({ syscalls: ['socketcall'], where: { a0 } })),
];

/** What a socket speaks; `other` is neither TCP nor UDP over IP. */
export type Protocol = 'TCP' | 'UDP' | 'other';

/** A system call that made a socket or a connection, and worked. A descriptor that isn't known is -1. */
export type SocketCall = MakeSocket | Connect | Accept;

interface MakeSocket {
  readonly call: 'socket';
  readonly fd: number;
  readonly protocol: Protocol;
}

export interface Connect {
  readonly call: 'connect';
  readonly fd: number;
  /** Whether the call didn't wait for the connection to be made. */
  readonly underWay: boolean;
}

export interface Accept {
  readonly call: 'accept';
  /** Of the connection. */
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

/** What socketcall(2) is told to do, by its first argument: linux/net.h. */
const SOCKETCALLS: ReadonlyMap<number, Name> = new Map<number, Name>([
  [1, 'socket'],
  [3, 'connect'],
  [5, 'accept'],
  [18, 'accept'],
]);

const AF_INET = 2;
const AF_INET6 = 10;
/** Bits of a socket's type that aren't flags: SOCK_TYPE_MASK of linux/net.h. */
const TYPE_BITS = 0xf;
/** IPPROTO_*, 0 being the type's own; 262 is Multipath TCP. By SOCK_STREAM (1) and SOCK_DGRAM (2). */
const PROTOCOLS: Readonly<Record<number, ReadonlyMap<number, Protocol>>> = {
  1: new Map([0, 6, 262].map((number) => [number, 'TCP'])),
  2: new Map([0, 17].map((number) => [number, 'UDP'])),
};

/**
 * How a connect(2) can end and still make a connection: it worked, or it goes on without the caller, who didn't want to
 * wait (EINPROGRESS), or whose wait a signal ended (EINTR; POSIX: "the connection shall be established asynchronously").
 */
const UNDER_WAY = new Set(['-115', '-4']);

/** @returns `undefined` when the event is of another call, or of one that came to nothing */
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

/** An argument as the SYSCALL record has it: all of a register, of which these calls take the lower 32 bits. */
const hexadecimal = (text: string | undefined): number =>
  text !== undefined && /^[0-9a-f]{1,16}$/.test(text) ? Number.parseInt(text.slice(-8), 16) : -1;

const descriptor = (n: number): number => (Number.isInteger(n) && n >= 0 && n < 2 ** 31 ? n : -1);
