import { getSystemErrorName } from 'node:util';
import type { ListeningSocket } from '../contract/sources.ts';
import { formatAddress, isLinkLocal } from './ip-address.ts';
import {
  errnoIn,
  messagesOf,
  NLM_F_DUMP,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
  readU32,
  writeU32,
} from './netlink/message.ts';
import type { NetlinkSocket } from './netlink/socket.ts';

/** A waiting socket as the kernel lists it, before anyone knows whose it is. */
export interface WaitingSocket extends Pick<ListeningSocket, 'protocol' | 'localAddress' | 'localPort' | 'userId'> {
  /** Number of its file in sockfs, by which /proc/PID/fd names it; 0 when no process has it. */
  readonly inode: number;
  /** Of the interface that a link-local address belongs to. */
  readonly interfaceIndex?: number;
}

/** What each protocol is asked for. Numbers from sys/socket.h, netinet/in.h and the kernel's net/tcp_states.h. */
export const PROTOCOLS = {
  tcp: { family: 2, number: 6, state: 10 },
  tcp6: { family: 10, number: 6, state: 10 },
  udp: { family: 2, number: 17, state: 7 },
  udp6: { family: 10, number: 17, state: 7 },
} as const satisfies Record<ListeningSocket['protocol'], { family: number; number: number; state: number }>;

export const PROTOCOL_NAMES = Object.keys(PROTOCOLS) as ListeningSocket['protocol'][];

/** The one message type of a request and of its answers: linux/sock_diag.h. */
const SOCK_DIAG_BY_FAMILY = 20;
/** struct inet_diag_req_v2: u8 family, protocol, extensions, padding; u32 states; the rest asks for one socket. */
const REQUEST_BYTES = 56;
/** struct inet_diag_msg, up to its attributes. */
const ANSWER_BYTES = 72;

/** Asks for all sockets of a protocol in the state that waits for others. See sock_diag(7). */
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
 * @returns `undefined` when it is cut short, of another family, connected, or without a port
 */
export function decodeSocket(answer: Buffer, protocol: ListeningSocket['protocol']): WaitingSocket | undefined {
  if (answer.length < ANSWER_BYTES) return undefined;
  const { family, state } = PROTOCOLS[protocol];
  const localPort = answer.readUInt16BE(4);
  const remotePort = answer.readUInt16BE(6);
  if (answer[0] !== family || answer[1] !== state || localPort === 0 || remotePort !== 0) return undefined;
  const local = answer.subarray(8, family === 2 ? 12 : 24);
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
 * Lists the waiting sockets of one protocol in this network namespace. Needs no privilege.
 *
 * The kernel makes a dump's datagrams when they are asked for, so there is nothing to wait for between two of them.
 *
 * @throws Error with the errno's name as `code` when the kernel refuses, `ENOENT` when it was built without inet_diag
 */
export function dump(netlink: NetlinkSocket, protocol: ListeningSocket['protocol']): WaitingSocket[] {
  const sequence = netlink.send(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, encodeRequest(protocol));
  const sockets: WaitingSocket[] = [];
  for (;;) {
    const datagram = netlink.receive();
    if (datagram === undefined) throw refused('EAGAIN');
    for (const { type, sequence: answered, payload } of messagesOf(datagram)) {
      if (answered !== sequence) continue;
      if (type === NLMSG_DONE) return sockets;
      if (type === NLMSG_ERROR) throw refused(getSystemErrorName(-(errnoIn(payload) || 5)));
      const socket = type === SOCK_DIAG_BY_FAMILY ? decodeSocket(payload, protocol) : undefined;
      if (socket !== undefined) sockets.push(socket);
    }
  }
}

const refused = (code: string) => Object.assign(new Error(`sock_diag: ${code}`), { code });
