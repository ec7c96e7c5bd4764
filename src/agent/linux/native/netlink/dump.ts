import { getSystemErrorName } from 'node:util';
import { errnoIn, messagesOf, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR } from './message.ts';
import type { NetlinkSocket } from './socket.ts';

/** EIO of errno.h: what an error without its number counts as. */
const UNKNOWN_ERROR = 5;

interface DumpRequest {
  readonly type: number;
  readonly payload: Buffer;
  /** The type of the answers. */
  readonly answers: number;
  /** Who is asked, for errors. */
  readonly of: string;
}

/**
 * Sends a dump request and yields the payloads of the answers, datagram by datagram. They are valid until the next ones are
 * taken.
 *
 * The kernel produces the datagrams of a dump as they are read, so there is no waiting in between. A dump that fails after its
 * request was accepted, as when nothing in the kernel serves the protocol that it is about, has the error in its NLMSG_DONE:
 * see netlink_dump_done() in net/netlink/af_netlink.c.
 *
 * @throws Error with the errno's name as `code` when the kernel refuses, `EAGAIN` when it does not answer
 */
export function* dumped(netlink: NetlinkSocket, { type, payload, answers, of }: DumpRequest): Generator<Buffer[]> {
  const sequence = netlink.send(type, NLM_F_REQUEST | NLM_F_DUMP, payload);
  for (let isDone = false; !isDone; ) {
    const datagram = netlink.receive();
    if (datagram === undefined) throw refused('EAGAIN', of);
    const found: Buffer[] = [];
    for (const { type: kind, sequence: answered, payload: content } of messagesOf(datagram)) {
      if (answered !== sequence) continue;
      isDone = kind === NLMSG_DONE;
      if (kind === NLMSG_ERROR || (isDone && (errnoIn(content) ?? 0) !== 0)) throw refused(errorIn(content), of);
      if (isDone) break;
      if (kind === answers) found.push(content);
    }
    yield found;
  }
}

/** The name of the error in an NLMSG_ERROR or NLMSG_DONE. */
export const errorIn = (payload: Buffer): string => getSystemErrorName(-(errnoIn(payload) || UNKNOWN_ERROR));

/** The error for a request that the kernel refuses. */
export const refused = (code: string, of: string): Error => Object.assign(new Error(`${of}: ${code}`), { code });
