import { createHash } from 'node:crypto';
import type { NetlinkSocket } from '../native/netlink/socket.ts';
import { dumpEach, PROTOCOL_NAMES, type WaitingSocket } from './sock-diag.ts';

/** UDP sockets that are remembered from one look to the next. */
const MAX_REMEMBERED_SOCKETS = 8_192;

/**
 * What differs when sockets are opened or closed, without the processes that hold them, which take most of the time to find.
 *
 * A UDP socket counts when two looks in a row have found it: resolvers open one for each query, and each would look like a new
 * port.
 */
export class SocketTrace {
  #udp: ReadonlySet<number> = new Set();

  /** @throws what `dumpEach` throws */
  async take(netlink: NetlinkSocket, pace: () => Promise<void>): Promise<string> {
    const before = this.#udp;
    const udp = new Set<number>();
    const digest = createHash('sha256');
    for (const protocol of PROTOCOL_NAMES) {
      let text = `${protocol} `;
      const take = ({ inode, localPort }: WaitingSocket) => {
        if (protocol === 'udp' || protocol === 'udp6') {
          if (udp.size < MAX_REMEMBERED_SOCKETS) udp.add(inode);
          // With more of them than are remembered, each counts at once.
          if (!before.has(inode) && before.size < MAX_REMEMBERED_SOCKETS) return;
        }
        text += `${inode}:${localPort} `;
      };
      await dumpEach(netlink, protocol, take, async () => {
        digest.update(text);
        text = '';
        await pace();
      });
    }
    this.#udp = udp;
    return digest.digest('base64');
  }
}
