import { closeSync, readSync, writeSync } from 'node:fs';
import { constants } from 'node:os';
import { getSystemErrorName } from 'node:util';
import { AgentError, errnoOf } from '../../../base/errors.ts';
import { systemCalls } from '../system-calls.ts';
import { takeInherited } from './inherited.ts';
import { encodeMessage, writeU16, writeU32 } from './message.ts';

/** Families of netlink: linux/netlink.h. */
export const NETLINK_SOCK_DIAG = 4;
export const NETLINK_AUDIT = 9;
export const NETLINK_CONNECTOR = 11;

const AF_NETLINK = 16;
const SOCK_RAW = 3;
/** The values of every architecture but alpha, mips, parisc and sparc, which Node has no builds for or we don't ship. */
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_RCVBUFFORCE = 33;

/** More than the kernel puts in one datagram: 8,970 bytes of an audit record, 32 KiB of a dump. */
const DATAGRAM_BYTES = 64 * 1024;

interface Options {
  /** Multicast groups to join, as a bit mask. */
  readonly groups?: number;
  /** Room for what has arrived and isn't read yet. Granted in full with CAP_NET_ADMIN, else up to net.core.rmem_max. */
  readonly receiveBufferBytes?: number;
  /** A classic BPF program (see socket-filter.ts) that says which datagrams may come; in force from the first one on. */
  readonly filter?: Buffer;
  /** Must not be one that a service manager keeps open, too. */
  readonly own?: boolean;
}

/**
 * A netlink socket of the kernel, that never blocks.
 *
 * Node has no way to make one, so the three system calls that do are called by system-calls.ts. Everything after that is
 * plain reading and writing of a file descriptor: a wake-up for every event costs twice to five times as much as a
 * drain now and then, so nothing is gained by more.
 */
export class NetlinkSocket {
  readonly fd: number;
  /** How often the kernel said that it had to throw datagrams away, the receive buffer being full (ENOBUFS). */
  overruns = 0;
  readonly #own = Buffer.allocUnsafeSlow(DATAGRAM_BYTES);
  #sequence = 0;
  #open = true;

  readonly #giveBack: () => void;

  /** @param giveBack what to do with it at close, when it isn't this process's to close */
  constructor(fd: number, giveBack = () => closeSync(fd)) {
    this.fd = fd;
    this.#giveBack = giveBack;
  }

  /**
   * Sends one request to the kernel.
   *
   * @returns its sequence number, which the answers repeat
   * @throws what write(2) says; netlink's own refusals come as NLMSG_ERROR
   */
  send(type: number, flags: number, payload: Buffer): number {
    this.#sequence = (this.#sequence + 1) >>> 0;
    writeSync(this.fd, encodeMessage(type, flags, this.#sequence, payload));
    return this.#sequence;
  }

  /**
   * Takes the next datagram.
   *
   * @param into where to put it, from its start; a datagram that is longer is cut. A buffer of the socket's own when absent
   * @returns a view that holds until the next call, or `undefined` when nothing waits
   */
  receive(into = this.#own): Buffer | undefined {
    const length = this.read(into);
    return length === undefined ? undefined : into.subarray(0, length);
  }

  /** The same without making a view, for streams of small datagrams. @returns its length, or `undefined` */
  read(into: Buffer): number | undefined {
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
   * Lets the kernel throw away what a classic BPF program doesn't keep, instead of what it was told before. What has
   * arrived already stays.
   *
   * @returns whether it does: not where koffi has no binary, or a seccomp filter forbids it
   */
  filter(program: Buffer): boolean {
    try {
      return this.#open && systemCalls().attachFilter(this.fd, program) === 0;
    } catch {
      return false;
    }
  }

  /** Safe to call twice. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#giveBack();
  }
}

/**
 * A netlink socket: one that a service manager has passed on (see inherited.ts) if there is such a one, else a new one.
 *
 * @param protocol the family, such as NETLINK_SOCK_DIAG
 * @throws AgentError SOCKET_UNAVAILABLE when koffi has no binary here, or the kernel refuses
 */
export function openNetlink(protocol: number, options: Options = {}): NetlinkSocket {
  const { groups = 0, receiveBufferBytes, filter, own = false } = options;
  const loan = own ? undefined : takeInherited(protocol, groups);
  if (loan !== undefined) {
    const socket = new NetlinkSocket(loan.fd, loan.giveBack);
    if (filter !== undefined) socket.filter(filter);
    // What it got before the agent started is what it is kept open for.
    if (loan.isStale) while (socket.receive() !== undefined);
    return socket;
  }
  const system = systemCalls();
  const fd = system.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
  if (fd < 0) throw refused(`socket() of netlink family ${protocol}`, system.errno());
  if (filter !== undefined) system.attachFilter(fd, filter); // without it there is more to read, and nothing else
  // struct sockaddr_nl: u16 family, u16 padding, u32 port (0: the kernel picks one), u32 groups.
  const address = Buffer.alloc(12);
  writeU16(address, 0, AF_NETLINK);
  writeU32(address, 8, groups);
  if (system.bind(fd, address, address.length) < 0) {
    const errno = system.errno();
    closeSync(fd);
    throw refused(`bind() of netlink family ${protocol}`, errno);
  }
  if (receiveBufferBytes !== undefined) {
    const size = Buffer.alloc(4);
    writeU32(size, 0, receiveBufferBytes);
    if (system.setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, size, size.length) < 0) {
      system.setsockopt(fd, SOL_SOCKET, SO_RCVBUF, size, size.length); // less room is no failure, only more loss
    }
  }
  return new NetlinkSocket(fd);
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
