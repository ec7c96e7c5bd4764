import { closeSync, lstatSync, openSync, readlinkSync } from 'node:fs';
import { endianness } from 'node:os';
import { readBounded } from '../../../../core/base/bounded-file.ts';
import { errnoOf } from '../../../../core/base/errors.ts';
import type { SocketAddress } from '../../../../core/contract/streams.ts';
import { formatAddress } from '../../../host/ip-address.ts';
import { O_PATH } from '../../../host/local-files.ts';
import { addressOf, type ProcNetEnd, parseProcNetLine, TCP_LISTEN } from '../../../host/proc-net.ts';
import { optionalSystemCalls } from '../../native/system-calls.ts';
import type { Peers } from '../sock-diag.ts';
import { socketInode } from '../socket-owners.ts';
import type { Protocol } from './socket-calls.ts';

/* What /proc reports of a process's sockets: nothing (`undefined`, `false`) once the process has exited. */

/** Checked first to avoid exceptions, which would be most of the cost for short-lived processes. */
export const isAlive = (proc: string, pid: number): boolean =>
  lstatSync(`${proc}/${pid}`, { throwIfNoEntry: false }) !== undefined;

/** The inode of the socket that a descriptor refers to; see proc_pid_fd(5). */
export function inodeAt(proc: string, pid: number, fd: number): number | undefined {
  return socketInode(target(`${proc}/${pid}/fd/${fd}`));
}

const LONGEST_NAME = 64;

/**
 * The protocol of the open socket with this inode that a descriptor refers to, connected or not. The kernel names it when the
 * socket is made: sockfs_xattr_get(). Unlike /proc/net, this also shows that a socket is neither TCP nor UDP.
 *
 * @returns `undefined` when the descriptor refers to something else by now, and without native code
 */
export function protocolAt(proc: string, pid: number, fd: number, inode: number): Protocol | undefined {
  const system = optionalSystemCalls();
  if (system === undefined) return undefined;
  let held: number | undefined;
  try {
    // Held and checked first: of a file in a FUSE file system, getxattr(2) would wait for a user's program.
    held = openSync(`${proc}/${pid}/fd/${fd}`, O_PATH);
    const own = `/proc/self/fd/${held}`;
    if (inode !== socketInode(readlinkSync(own))) return undefined;
    const name = Buffer.alloc(LONGEST_NAME);
    const length = system.getxattr(own, 'system.sockprotoname', name, name.length);
    return length > 1 ? protocolNamed(name.toString('latin1', 0, length - 1)) : undefined;
  } catch {
    return undefined;
  } finally {
    if (held !== undefined) closeSync(held);
  }
}

/** The names of struct proto. Connections of SMC begin as TCP. */
function protocolNamed(name: string): Protocol {
  if (/^(MP)?TCP(v6)?$|^SMC6?$/.test(name)) return 'TCP';
  return name === 'UDP' || name === 'UDPv6' ? 'UDP' : 'other';
}

/** `net:[4026531840]`: the network namespace of a process; see namespaces(7). */
export function networkOf(proc: string, pid: number | 'self'): string | undefined {
  return target(`${proc}/${pid}/ns/net`);
}

function target(link: string): string | undefined {
  try {
    return readlinkSync(link);
  } catch {
    return undefined;
  }
}

/** A socket as listed in its network namespace. A listening socket has no peer. */
export interface ProcSocket {
  readonly protocol: 'TCP' | 'UDP';
  readonly local: SocketAddress;
  readonly remote?: SocketAddress;
  readonly inode: number;
}

/**
 * Files below /proc/PID/net; see proc_pid_net(5). Every namespace has the last one: when that can be read, a file that was
 * missing before is one that the kernel does not have, such as those of IPv6.
 */
const FILES = { udp6: 'UDP', tcp6: 'TCP', udp: 'UDP', tcp: 'TCP' } as const;
const LAST = 'tcp';
/** About 25,000 sockets. A longer file is not read at all. */
const MAX_BYTES = 4 * 1024 * 1024;

/** Which sockets to show. */
export interface Wanted {
  /** Sockets with these inodes; all that a process holds when absent. */
  readonly inodes?: ReadonlySet<number>;
  /** Also sockets with one of these peers, even if no process holds them any more. */
  readonly peers?: Peers;
}

/**
 * Reads one line of /proc/PID/net/tcp, tcp6, udp or udp6.
 *
 * @returns `undefined` for the heading, a malformed line, and a socket that is not wanted
 */
export function parseProcSocket(
  line: string,
  protocol: ProcSocket['protocol'],
  { inodes, peers }: Wanted = {},
  order: 'LE' | 'BE' = endianness(),
): ProcSocket | undefined {
  const socket = parseProcNetLine(line);
  if (socket === undefined) return undefined;
  const { inode } = socket;
  const isWanted = inode !== 0 && inodes?.has(inode) !== false;
  const addresses = peers?.get(socket.remote.port);
  if (!isWanted && addresses === undefined) return undefined;
  const remote = end(socket.remote, order);
  if (remote === undefined || !(isWanted || addresses?.has(remote.address))) return undefined;
  const local = end(socket.local, order);
  if (local === undefined) return undefined;
  const listens = protocol === 'TCP' && socket.state === TCP_LISTEN;
  return { protocol, local, ...(listens ? {} : { remote }), inode };
}

function end(at: ProcNetEnd, order: 'LE' | 'BE'): SocketAddress | undefined {
  const bytes = addressOf(at, order);
  return bytes === undefined ? undefined : { address: formatAddress(bytes), port: at.port };
}

/**
 * Shows the sockets of a process's network namespace that are wanted.
 *
 * @returns whether all its lists could be read whole
 */
export function socketsAround(proc: string, pid: number, wanted: Wanted, show: (socket: ProcSocket) => void): boolean {
  let isComplete = true;
  for (const [file, protocol] of Object.entries(FILES)) {
    const text = readList(`${proc}/${pid}/net/${file}`, file !== LAST);
    if (text === undefined) isComplete = false;
    for (const line of text?.split('\n') ?? []) {
      const socket = parseProcSocket(line, protocol, wanted);
      if (socket !== undefined) show(socket);
    }
  }
  return isComplete;
}

/** @returns `undefined` when it could not be read whole */
function readList(path: string, mayBeMissing: boolean): string | undefined {
  try {
    return readBounded(path, MAX_BYTES);
  } catch (error) {
    return mayBeMissing && errnoOf(error) === 'ENOENT' ? '' : undefined;
  }
}
