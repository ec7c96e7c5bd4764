import { AgentError, errnoOf } from '../../../core/base/errors.ts';
import { readU16 } from '../native/byte-order.ts';
import { dumped, errorIn, refused } from '../native/netlink/dump.ts';
import { align, messagesOf, NLM_F_REQUEST, NLMSG_ERROR } from '../native/netlink/message.ts';
import type { NetlinkSocket } from '../native/netlink/socket.ts';

/* Asks the kernel which tables nftables has, and whether its rules have changed, without a tool. linux/netfilter/nfnetlink.h
 * and linux/netfilter/nf_tables.h. */

/** In errors. */
const NAME = 'nf_tables';

/** The netlink family: linux/netlink.h. */
export const NETLINK_NETFILTER = 12;

/** NFNL_SUBSYS_NFTABLES << 8, and in it NFT_MSG_GETTABLE and its answer NFT_MSG_NEWTABLE. */
const NFT_MSG_GETTABLE = (10 << 8) | 1;
const NFT_MSG_NEWTABLE = 10 << 8;
/** NFT_MSG_GETGEN and its answer NFT_MSG_NEWGEN. */
const NFT_MSG_GETGEN = (10 << 8) | 16;
const NFT_MSG_NEWGEN = (10 << 8) | 15;
/** struct nfgenmsg: u8 family, u8 version, be16 resource. */
const NFGENMSG_BYTES = 4;
/** struct nlattr: u16 length, u16 type. */
const NLATTR_BYTES = 4;
const NFTA_TABLE_NAME = 1;
const NFTA_GEN_ID = 1;

/** enum nfproto of linux/netfilter.h, with nft's names. */
const FAMILIES: ReadonlyMap<number, string> = new Map([
  [1, 'inet'],
  [2, 'ip'],
  [3, 'arp'],
  [5, 'netdev'],
  [7, 'bridge'],
  [10, 'ip6'],
]);

/** Errors that mean that the kernel has no nftables, or does not know the request. */
const NO_NFTABLES = ['EINVAL', 'ENOENT', 'ENOTSUP', 'EOPNOTSUPP'];

/**
 * Whether the kernel refused a socket since nothing in it serves the netlink family, without which there is no nftables: see
 * netlink_create() in net/netlink/af_netlink.c.
 */
export const isWithoutFamily = (error: unknown): boolean =>
  error instanceof AgentError && errnoOf(error.cause) === 'EPROTONOSUPPORT';

/**
 * The tables of all families: `inet filter`. Needs CAP_NET_ADMIN.
 *
 * @throws Error with the errno's name as `code` when the kernel refuses, usually `EPERM`
 */
export function listNftTables(netlink: NetlinkSocket): string[] {
  const request = {
    type: NFT_MSG_GETTABLE,
    payload: Buffer.alloc(NFGENMSG_BYTES),
    answers: NFT_MSG_NEWTABLE,
    of: NAME,
  };
  const tables: string[] = [];
  try {
    for (const answers of dumped(netlink, request))
      tables.push(...answers.map(decodeTable).filter((table) => table !== undefined));
    return tables;
  } catch (error) {
    if (NO_NFTABLES.includes(errnoOf(error) ?? '')) return [];
    throw error;
  }
}

/**
 * The number of the present ruleset, which the kernel counts up with each transaction. Needs CAP_NET_ADMIN.
 *
 * @returns 0 where the kernel has no nftables
 * @throws as `listNftTables` does
 */
export function nftGeneration(netlink: NetlinkSocket): number {
  const sequence = netlink.send(NFT_MSG_GETGEN, NLM_F_REQUEST, Buffer.alloc(NFGENMSG_BYTES));
  const datagram = netlink.receive();
  for (const { type, sequence: answered, payload } of datagram === undefined ? [] : messagesOf(datagram)) {
    if (answered !== sequence) continue;
    if (type === NLMSG_ERROR) {
      const code = errorIn(payload);
      if (NO_NFTABLES.includes(code)) return 0;
      throw refused(code, NAME);
    }
    const id = type === NFT_MSG_NEWGEN ? attribute(payload, NFTA_GEN_ID) : undefined;
    if (id?.length === 4) return id.readUInt32BE(0);
  }
  throw refused('EAGAIN', NAME);
}

/** @returns `undefined` when it is truncated or has no name */
export function decodeTable(payload: Buffer): string | undefined {
  const name = attribute(payload, NFTA_TABLE_NAME)?.toString('utf8').replace(/\0.*$/s, '');
  return name === undefined ? undefined : `${FAMILIES.get(payload[0] ?? 0) ?? payload[0]} ${name}`;
}

/** The value of the first attribute of a type; `undefined` when there is none, or one before it is truncated. */
function attribute(payload: Buffer, wanted: number): Buffer | undefined {
  for (let at = NFGENMSG_BYTES; at + NLATTR_BYTES <= payload.length; ) {
    const length = readU16(payload, at);
    if (length < NLATTR_BYTES || at + length > payload.length) return undefined;
    if (readU16(payload, at + 2) === wanted) return payload.subarray(at + NLATTR_BYTES, at + length);
    at += align(length);
  }
  return undefined;
}
