import { closeSync, readSync, writeSync } from 'node:fs';
import { constants } from 'node:os';
import { getSystemErrorName } from 'node:util';
import { AgentError, errnoOf } from '../../../../core/base/errors.ts';
import { readU32, writeU16, writeU32 } from '../byte-order.ts';
import { optionalSystemCalls, type SystemCalls, systemCalls } from '../system-calls.ts';
import { takeInherited } from './inherited.ts';
import { encodeMessage } from './message.ts';

/** Families of netlink: linux/netlink.h. */
export const NETLINK_SOCK_DIAG = 4;
export const NETLINK_AUDIT = 9;
export const NETLINK_CONNECTOR = 11;

const AF_NETLINK = 16;
const SOCK_RAW = 3;
/** Valid for all architectures but alpha, mips, parisc and sparc, for which there is no build of Node or of the agent. */
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_RCVBUFFORCE = 33;
const SOL_NETLINK = 270;
const NETLINK_ADD_MEMBERSHIP = 1;
/** struct sockaddr_nl: u16 family, u16 padding, u32 port (0: the kernel), u32 groups. */
const ADDRESS_BYTES = 12;
const PORT_AT = 4;
/** Commands of fcntl(2), from asm-generic/fcntl.h; the same on all platforms of Node. */
const F_SETFL = 4;
const F_SETOWN = 8;
const F_SETSIG = 10;
const O_ASYNC = 0o20000;

/**
 * The signal of `announceArrivals`. A process without a handler ignores it, unlike SIGIO, which would end an agent that
 * is just exiting; and of the signals with this property nothing else uses it: the agent has no sockets with urgent data.
 */
export const ARRIVAL_SIGNAL = 'SIGURG';
const { SIGURG } = constants.signals;
const { EAGAIN, EINTR, ENOBUFS } = constants.errno;

const KERNEL_PORT = 0;

/** More than the kernel puts into one datagram: 8,970 bytes of an audit record, 32 KiB of a dump. */
const DATAGRAM_BYTES = 64 * 1024;

interface Options {
  /** Multicast groups to join, as a bit mask. */
  readonly groups?: number;
  /** Size of the receive buffer. Granted in full with CAP_NET_ADMIN, else up to net.core.rmem_max. */
  readonly receiveBufferBytes?: number;
  /** A classic BPF program (see socket-filter.ts) that selects datagrams; in force from the first datagram on. */
  readonly filter?: Buffer;
  /** Never use a socket that a service manager passed on and keeps open. */
  readonly own?: boolean;
}

/**
 * A non-blocking netlink socket that receives from the kernel only. Any process with CAP_NET_ADMIN in this network namespace may
 * send to a socket's port or to a multicast group, and could forge records. The socket is connected to the kernel, so that
 * the kernel refuses what others send to its port (ECONNREFUSED); for multicast, connect(2) changes nothing, so the sender of
 * each datagram is checked as well. Without native code neither is possible.
 *
 * Node cannot create one, so system-calls.ts makes the system calls. Everything after that is reading and writing a file
 * descriptor. It is drained at intervals: waking up for each event would cost two to five times as much.
 */
export class NetlinkSocket {
  readonly fd: number;
  /** How often the kernel reported that it dropped datagrams because the receive buffer was full (ENOBUFS). */
  overruns = 0;
  readonly #own = Buffer.allocUnsafeSlow(DATAGRAM_BYTES);
  readonly #sender = Buffer.alloc(ADDRESS_BYTES);
  readonly #senderBytes = Buffer.alloc(4);
  #sequence = 0;
  #open = true;
  /** Absent on a platform without koffi. */
  readonly #native: SystemCalls | undefined;
  readonly #isInherited: boolean;
  readonly #release: () => void;

  /** @param release called at close instead of closing the descriptor, for an inherited socket */
  constructor(fd: number, release?: () => void) {
    this.fd = fd;
    this.#native = optionalSystemCalls();
    writeU32(this.#senderBytes, 0, ADDRESS_BYTES);
    this.#isInherited = release !== undefined;
    this.#release = release ?? (() => closeSync(fd));
  }

  /**
   * Sends one request to the kernel.
   *
   * @returns its sequence number, which the answers repeat
   * @throws the error of write(2); netlink's own refusals arrive as NLMSG_ERROR
   */
  send(type: number, flags: number, payload: Buffer): number {
    this.#sequence = (this.#sequence + 1) >>> 0;
    writeSync(this.fd, encodeMessage(type, flags, this.#sequence, payload));
    return this.#sequence;
  }

  /**
   * Reads the next datagram.
   *
   * @param into buffer to read into; a longer datagram is truncated. The socket's own buffer when absent
   * @returns a view that is valid until the next call, or `undefined` when no datagram is queued
   */
  receive(into = this.#own): Buffer | undefined {
    const length = this.read(into);
    return length === undefined ? undefined : into.subarray(0, length);
  }

  /** Like `receive`, without creating a view, for streams of small datagrams. @returns its length, or `undefined` */
  read(into: Buffer): number | undefined {
    const native = this.#native;
    for (;;) {
      if (native === undefined) return this.#readSync(into);
      const length = native.recvfrom(this.fd, into, into.length, 0, this.#sender, this.#senderBytes);
      if (length >= 0) {
        if (readU32(this.#sender, PORT_AT) === KERNEL_PORT) return length;
        continue;
      }
      const errno = native.errno();
      if (errno === EAGAIN) return undefined;
      if (errno === ENOBUFS) this.overruns += 1;
      else if (errno !== EINTR) return this.#readSync(into); // which throws the error, or may do what recv(2) may not
    }
  }

  /** Every quiet socket costs an exception: 100 µs on an idle processor, five times what recv(2) takes by koffi. */
  #readSync(into: Buffer): number | undefined {
    for (;;) {
      try {
        return readSync(this.fd, into, 0, into.length, null);
      } catch (error) {
        const errno = errnoOf(error);
        if (errno === 'EAGAIN') return undefined;
        if (errno === 'ENOBUFS') this.overruns += 1;
        else if (errno !== 'EINTR') throw error;
      }
    }
  }

  /**
   * Replaces the classic BPF program by which the kernel selects datagrams. Datagrams that are already queued stay.
   *
   * @returns whether it succeeded: it fails when koffi has no binary for this platform, or a seccomp filter forbids it
   */
  filter(program: Buffer): boolean {
    try {
      return this.#open && systemCalls().attachFilter(this.fd, program) === 0;
    } catch {
      return false;
    }
  }

  /**
   * Makes the kernel send ARRIVAL_SIGNAL to this process for each datagram that arrives from now on, or stops that.
   * Datagrams that are already queued cause no signal.
   *
   * @returns whether signals will be sent: never for an inherited socket (its owner shares the flags) or without koffi
   */
  announceArrivals(isOn: boolean): boolean {
    if (!this.#open || this.#isInherited) return false;
    try {
      const { fcntl } = systemCalls();
      const isReady = !isOn || (fcntl(this.fd, F_SETOWN, process.pid) === 0 && fcntl(this.fd, F_SETSIG, SIGURG) === 0);
      return isReady && fcntl(this.fd, F_SETFL, SOCK_NONBLOCK | (isOn ? O_ASYNC : 0)) === 0 && isOn;
    } catch {
      return false;
    }
  }

  /** Safe to call twice. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#release();
  }
}

/**
 * A netlink socket: one that a service manager has passed on (see inherited.ts) if one fits, else a new one.
 *
 * @param protocol the family, such as NETLINK_SOCK_DIAG
 * @throws AgentError SOCKET_UNAVAILABLE when koffi has no binary for this platform, or the kernel refuses
 */
export function openNetlink(protocol: number, options: Options = {}): NetlinkSocket {
  const { groups = 0, receiveBufferBytes, filter, own = false } = options;
  const loan = own ? undefined : takeInherited(protocol, groups);
  if (loan !== undefined) {
    const socket = new NetlinkSocket(loan.fd, loan.release);
    const native = optionalSystemCalls();
    if (native !== undefined && !isConnected(native, loan.fd)) {
      const errno = native.errno();
      socket.close();
      throw refused(`connect() of netlink family ${protocol}`, errno);
    }
    if (filter !== undefined) socket.filter(filter);
    // Datagrams that arrived before the agent started are the reason why the service manager keeps it open.
    if (loan.isStale) while (socket.receive() !== undefined);
    return socket;
  }
  const system = systemCalls();
  const fd = system.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
  if (fd < 0) throw refused(`socket() of netlink family ${protocol}`, system.errno());
  if (filter !== undefined) system.attachFilter(fd, filter); // optional: without it, more datagrams are read and skipped
  const call = !isConnected(system, fd) ? 'connect' : !hasJoined(system, fd, groups) ? 'setsockopt' : undefined;
  if (call !== undefined) {
    const errno = system.errno();
    closeSync(fd);
    throw refused(`${call}() of netlink family ${protocol}`, errno);
  }
  if (receiveBufferBytes !== undefined) {
    const size = Buffer.alloc(4);
    writeU32(size, 0, receiveBufferBytes);
    if (system.setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, size, size.length) < 0) {
      system.setsockopt(fd, SOL_SOCKET, SO_RCVBUF, size, size.length); // best effort: a smaller buffer only loses more
    }
  }
  return new NetlinkSocket(fd);
}

/** Connects a socket to the kernel, which also assigns its port. Groups are joined afterwards: until then it receives nothing. */
function isConnected(system: SystemCalls, fd: number): boolean {
  const kernel = Buffer.alloc(ADDRESS_BYTES);
  writeU16(kernel, 0, AF_NETLINK);
  return system.connect(fd, kernel, kernel.length) === 0;
}

/** @param groups as a bit mask: bit 0 is group 1 */
function hasJoined(system: SystemCalls, fd: number, groups: number): boolean {
  const group = Buffer.alloc(4);
  for (let index = 0; index < 32; index += 1) {
    if ((groups & (1 << index)) === 0) continue;
    writeU32(group, 0, index + 1);
    if (system.setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group, group.length) !== 0) return false;
  }
  return true;
}

const refused = (call: string, errno: number) => {
  const name = getSystemErrorName(-errno);
  return new AgentError(
    'SOCKET_UNAVAILABLE',
    `The kernel refused ${call}: ${name}.`,
    errno === constants.errno.EPERM || errno === constants.errno.EACCES
      ? 'Grant CAP_AUDIT_CONTROL, CAP_AUDIT_READ and CAP_NET_ADMIN, or loosen the seccomp filter.'
      : 'Check that the kernel has this netlink family, and that a seccomp filter or RestrictAddressFamilies= allows it.',
    { cause: Object.assign(new Error(`${call}: ${name}`), { code: name }) },
  );
};
