import type { ListeningSocket } from '../../../core/contract/sources.ts';
import type { SocketAddress } from '../../../core/contract/streams.ts';
import { formatAddress, isLinkLocal } from '../../host/ip-address.ts';
import { AF_INET, AF_INET6 } from '../audit/socket-address.ts';
import { readU32, writeU16, writeU32 } from '../native/byte-order.ts';
import { dumped } from '../native/netlink/dump.ts';
import type { NetlinkSocket } from '../native/netlink/socket.ts';

/** A listening socket as the kernel lists it, before its owner is known. */
export interface WaitingSocket extends Pick<ListeningSocket, 'protocol' | 'localAddress' | 'localPort' | 'userId'> {
  /** Its inode in sockfs, which /proc/PID/fd shows; 0 when no process holds it. */
  readonly inode: number;
  /** Index of the interface of a link-local address. */
  readonly interfaceIndex?: number;
}

/** The request for each protocol. Numbers from netinet/in.h and the kernel's net/tcp_states.h. */
export const PROTOCOLS = {
  tcp: { family: AF_INET, number: 6, state: 10 },
  tcp6: { family: AF_INET6, number: 6, state: 10 },
  udp: { family: AF_INET, number: 17, state: 7 },
  udp6: { family: AF_INET6, number: 17, state: 7 },
} as const satisfies Record<ListeningSocket['protocol'], { family: number; number: number; state: number }>;

export const PROTOCOL_NAMES = Object.keys(PROTOCOLS) as ListeningSocket['protocol'][];

/** The message type of requests and answers: linux/sock_diag.h. */
const SOCK_DIAG_BY_FAMILY = 20;
/** struct inet_diag_req_v2: u8 family, protocol, extensions, padding; u32 states; the rest selects one socket. */
const REQUEST_BYTES = 56;
/** struct inet_diag_msg, up to its attributes. */
const ANSWER_BYTES = 72;

/** Requests all listening sockets of a protocol. See sock_diag(7). */
export function encodeRequest(protocol: ListeningSocket['protocol']): Buffer {
  const { family, number, state } = PROTOCOLS[protocol];
  const request = Buffer.alloc(REQUEST_BYTES);
  request[0] = family;
  request[1] = number;
  writeU32(request, 4, 1 << state);
  return request;
}

/**
 * Reads one struct inet_diag_msg: u8 family, state, timer, retransmits; be16 local port, remote port; 16 bytes local
 * and 16 remote address; u32 interface, cookie[2], expires, rqueue, wqueue, uid, inode. Ports and addresses are in
 * network order, the rest in the host's. See sock_diag(7).
 *
 * @returns `undefined` when it is truncated, of another family, connected, or without a port
 */
export function decodeSocket(answer: Buffer, protocol: ListeningSocket['protocol']): WaitingSocket | undefined {
  if (answer.length < ANSWER_BYTES) return undefined;
  const { family, state } = PROTOCOLS[protocol];
  const localPort = answer.readUInt16BE(4);
  const remotePort = answer.readUInt16BE(6);
  if (answer[0] !== family || answer[1] !== state || localPort === 0 || remotePort !== 0) return undefined;
  const local = answer.subarray(8, family === AF_INET ? 12 : 24);
  const interfaceIndex = readU32(answer, 40);
  return {
    protocol,
    localAddress: formatAddress(local),
    localPort,
    userId: readU32(answer, 64),
    inode: readU32(answer, 68),
    ...(interfaceIndex !== 0 && isLinkLocal(local) ? { interfaceIndex } : {}),
  };
}

/**
 * Lists the listening sockets of one protocol in this network namespace. Needs no privilege.
 *
 * @throws Error with the errno's name as `code` when the kernel refuses, `ENOENT` when it has no inet_diag for the
 *   protocol
 */
export function dump(netlink: NetlinkSocket, protocol: ListeningSocket['protocol']): WaitingSocket[] {
  const sockets: WaitingSocket[] = [];
  forEachAnswer(netlink, SOCK_DIAG_BY_FAMILY, encodeRequest(protocol), (answer) => {
    const socket = decodeSocket(answer, protocol);
    if (socket !== undefined) sockets.push(socket);
  });
  return sockets;
}

/**
 * Like `dump`, for lists of any length: passes each socket on as it is read, and yields to the event loop in between.
 *
 * @param pace is awaited after each datagram of several hundred sockets
 * @throws as `dump` does, and what `pace` throws
 */
export async function dumpEach(
  netlink: NetlinkSocket,
  protocol: ListeningSocket['protocol'],
  show: (socket: WaitingSocket) => void,
  pace: () => Promise<void>,
): Promise<void> {
  for (const answers of answersTo(netlink, SOCK_DIAG_BY_FAMILY, encodeRequest(protocol))) {
    for (const answer of answers) {
      const socket = decodeSocket(answer, protocol);
      if (socket !== undefined) show(socket);
    }
    await pace();
  }
}

/** A connection as the kernel lists it, open or closed. */
export interface ConnectedSocket {
  readonly local: SocketAddress;
  readonly remote: SocketAddress;
  /** Its inode in sockfs; 0 when no process holds it any more. */
  readonly inode: number;
  /** Only for what is left of a connection without a process: for how many milliseconds the kernel will still keep it. */
  readonly keptFor?: number;
  /** Whether both sides have closed it. In FIN-WAIT-2, only this side has, and the kernel keeps it for a time of its own. */
  readonly isClosed: boolean;
}

/** Ports by which the kernel filters sockets: those with one of the remote ports or one of the local ports. */
export interface Ports {
  readonly remote: ReadonlySet<number>;
  readonly local: ReadonlySet<number>;
}

/** Remote addresses by their port: of most sockets, comparing the port is enough. */
export type Peers = ReadonlyMap<number, ReadonlySet<string>>;

/** The first interface of inet_diag, since Linux 2.6.14: TCP only, but both families in one pass. */
const TCPDIAG_GETSOCK = 18;
/** struct inet_diag_req: u8 family, source and destination length, extensions; the socket's id; u32 states, tables. */
const TCP_REQUEST_BYTES = 60;

const ESTABLISHED = 1;
const TIME_WAIT = 6;
const CLOSED = 7;
const LISTEN = 10;
/** All states of net/tcp_states.h that have a peer, from ESTABLISHED (1) to NEW_SYN_RECV (12). */
const CONNECTED = 0x1ffe & ~(1 << CLOSED) & ~(1 << LISTEN);
/** idiag_timer of what is left of a connection, in TIME-WAIT or FIN-WAIT-2: struct inet_timewait_sock. */
const TIME_WAIT_TIMER = 3;

/** INET_DIAG_REQ_BYTECODE: the attribute with the program by which the kernel filters sockets. */
const BYTECODE = 1;
const JUMP = 1;
/** Since Linux 4.16. */
const LOCAL_PORT_IS = 11;
const REMOTE_PORT_IS = 12;
const OPERATION_BYTES = 4;
/** With more ports, filtering takes the kernel longer than listing all sockets. */
const MAX_PORTS = 64;

/**
 * A request for connected TCP sockets. With few `ports` the kernel filters by them: among 10,000 sockets that takes a
 * tenth of the time.
 */
export function encodeTcpRequest(ports: Ports | undefined): Buffer {
  const request = Buffer.alloc(TCP_REQUEST_BYTES); // family 0 is both
  writeU32(request, 52, CONNECTED);
  return Buffer.concat([request, portFilter(ports)]);
}

/** The same request for one family of UDP. */
export function encodeUdpRequest(family: typeof AF_INET | typeof AF_INET6, ports: Ports | undefined): Buffer {
  const request = Buffer.alloc(REQUEST_BYTES);
  request[0] = family;
  request[1] = PROTOCOLS.udp.number;
  writeU32(request, 4, 1 << ESTABLISHED);
  return Buffer.concat([request, portFilter(ports)]);
}

/**
 * The filter "has one of these ports" for inet_diag_bc_run(). Each operation is u8 code, u8 yes, u16 no: the bytes to skip
 * when the condition holds and when it does not. A jump to the end of the program selects the socket, a jump beyond it
 * rejects the socket. A port to compare with follows its operation, in the `no` field of another one.
 */
function portFilter(ports: Ports | undefined): Buffer {
  if (ports === undefined) return Buffer.alloc(0);
  const tests = [
    ...[...ports.remote].map((port) => ({ code: REMOTE_PORT_IS, port })),
    ...[...ports.local].map((port) => ({ code: LOCAL_PORT_IS, port })),
  ];
  if (tests.length === 0 || tests.length > MAX_PORTS) return Buffer.alloc(0);
  const step = 3 * OPERATION_BYTES; // the test, its port, and the jump to the end
  const attribute = Buffer.alloc(OPERATION_BYTES + tests.length * step);
  const program = attribute.subarray(OPERATION_BYTES);
  writeU16(attribute, 0, attribute.length);
  writeU16(attribute, 2, BYTECODE);
  for (const [index, { code, port }] of tests.entries()) {
    const at = index * step;
    const left = program.length - at;
    const isLast = index === tests.length - 1;
    program[at] = code;
    program[at + 1] = 2 * OPERATION_BYTES;
    writeU16(program, at + 2, isLast ? left + OPERATION_BYTES : step);
    writeU16(program, at + 6, port);
    program[at + 8] = JUMP;
    program[at + 9] = OPERATION_BYTES;
    writeU16(program, at + 10, left - 2 * OPERATION_BYTES);
  }
  return attribute;
}

/**
 * Reads one struct inet_diag_msg of a connected socket; see decodeSocket.
 *
 * @returns `undefined` when it is truncated, or of another family
 */
export function decodeConnected(answer: Buffer): ConnectedSocket | undefined {
  const family = answer[0];
  if (answer.length < ANSWER_BYTES || (family !== AF_INET && family !== AF_INET6)) return undefined;
  const bytes = family === AF_INET ? 4 : 16;
  const interfaceIndex = readU32(answer, 40);
  const end = (address: Buffer, port: number): SocketAddress => ({
    address: formatAddress(address),
    port,
    ...(interfaceIndex !== 0 && isLinkLocal(address) ? { interfaceIndex } : {}),
  });
  return {
    local: end(answer.subarray(8, 8 + bytes), answer.readUInt16BE(4)),
    remote: end(answer.subarray(24, 24 + bytes), answer.readUInt16BE(6)),
    inode: readU32(answer, 68),
    ...(answer[2] === TIME_WAIT_TIMER ? { keptFor: readU32(answer, 52) } : {}),
    isClosed: answer[1] === TIME_WAIT,
  };
}

/**
 * Finds connected sockets of this network namespace with one of `ports` (any port when absent). Needs no privilege.
 * Returns:
 *
 * - sockets with one of `inodes`
 * - sockets with one of `peers` that are not closed, even if no process holds them any more
 * - closed sockets that the kernel keeps for at least another `keptForAtLeast` milliseconds (none when absent); that
 *   function is called for each socket, since time passes while they are listed
 *
 * @throws Error as `dump` does
 */
export function findConnected(
  netlink: NetlinkSocket,
  protocol: 'TCP' | 'UDP',
  {
    ports,
    inodes,
    peers,
    keptForAtLeast = () => Number.POSITIVE_INFINITY,
  }: {
    readonly ports?: Ports | undefined;
    readonly inodes: ReadonlySet<number>;
    readonly peers?: Peers | undefined;
    readonly keptForAtLeast?: (() => number) | undefined;
  },
): ConnectedSocket[] {
  const found: ConnectedSocket[] = [];
  const take = (answer: Buffer) => {
    if (answer.length < ANSWER_BYTES) return;
    const isLeft = answer[2] === TIME_WAIT_TIMER && readU32(answer, 52) >= keptForAtLeast();
    const isWanted = isLeft || inodes.has(readU32(answer, 68));
    const addresses = answer[1] === TIME_WAIT ? undefined : peers?.get(answer.readUInt16BE(6));
    // The request may have been for all ports.
    if ((!isWanted && addresses === undefined) || (ports !== undefined && !isAmong(ports, answer))) return;
    const socket = decodeConnected(answer);
    if (socket !== undefined && (isWanted || addresses?.has(socket.remote.address))) found.push(socket);
  };
  if (protocol === 'TCP') forEachAnswer(netlink, TCPDIAG_GETSOCK, encodeTcpRequest(ports), take);
  else
    for (const family of [AF_INET, AF_INET6] as const)
      forEachAnswer(netlink, SOCK_DIAG_BY_FAMILY, encodeUdpRequest(family, ports), take);
  return found;
}

const isAmong = ({ remote, local }: Ports, answer: Buffer): boolean =>
  remote.has(answer.readUInt16BE(6)) || local.has(answer.readUInt16BE(4));

/** Sends a dump request and passes each answer on. */
function forEachAnswer(netlink: NetlinkSocket, type: number, request: Buffer, show: (answer: Buffer) => void): void {
  for (const answers of answersTo(netlink, type, request)) for (const answer of answers) show(answer);
}

/** Sends a dump request and yields the answers, datagram by datagram: see `dumped`. */
const answersTo = (netlink: NetlinkSocket, type: number, payload: Buffer): Iterable<readonly Buffer[]> =>
  dumped(netlink, { type, payload, answers: type, of: 'sock_diag' });
