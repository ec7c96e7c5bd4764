import type { NetlinkSocket } from '../../../../../src/agent/linux/native/netlink/socket.ts';
import { encodeRequest } from '../../../../../src/agent/linux/sockets/sock-diag.ts';

const SOCK_DIAG_BY_FAMILY = 20;
/** NLM_F_REQUEST and NLM_F_DUMP. */
const REQUEST_DUMP = 0x301;

/**
 * Asks a socket of NETLINK_SOCK_DIAG for the listening sockets, which needs no capability: see sock_diag(7). The kernel has
 * answered when this returns, if only by the message that ends the list.
 *
 * @returns the sequence number of the question, which the answers repeat
 */
export const askForListeners = (socket: NetlinkSocket): number =>
  socket.send(SOCK_DIAG_BY_FAMILY, REQUEST_DUMP, encodeRequest('tcp'));
