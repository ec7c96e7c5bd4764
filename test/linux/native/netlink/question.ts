import { writeU32 } from '../../../../src/linux/native/byte-order.ts';
import { NLM_F_REQUEST } from '../../../../src/linux/native/netlink/message.ts';
import type { NetlinkSocket } from '../../../../src/linux/native/netlink/socket.ts';

const SOCK_DIAG_BY_FAMILY = 20;
const NLM_F_DUMP = 0x300;
const AF_INET = 2;
const IPPROTO_TCP = 6;
const TCP_LISTEN = 10;

/**
 * Asks a socket of NETLINK_SOCK_DIAG for the listening sockets, which needs no capability: see sock_diag(7). The kernel has
 * answered when this returns, if only by the message that ends the list.
 *
 * @returns the sequence number of the question, which the answers repeat
 */
export function askForListeners(socket: NetlinkSocket): number {
  const request = Buffer.alloc(56); // struct inet_diag_req_v2
  request[0] = AF_INET;
  request[1] = IPPROTO_TCP;
  writeU32(request, 4, 1 << TCP_LISTEN);
  return socket.send(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, request);
}
