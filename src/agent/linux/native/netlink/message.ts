import { readU16, readU32, writeU16, writeU32 } from '../byte-order.ts';

/** Size of struct nlmsghdr: u32 length, u16 type, u16 flags, u32 sequence, u32 port. See netlink(7). */
export const HEADER_BYTES = 16;

/** Flags of a request. */
export const NLM_F_REQUEST = 1;
export const NLM_F_ACK = 4;
export const NLM_F_DUMP = 0x300;

/** Types that every netlink family has. */
export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;

export interface NetlinkMessage {
  readonly type: number;
  readonly flags: number;
  /** Sequence number of the request it answers; 0 for messages that the kernel sends on its own. */
  readonly sequence: number;
  /** A view of the datagram, not a copy. */
  readonly payload: Buffer;
}

/** Messages are aligned to four bytes. */
export const align = (length: number): number => (length + 3) & ~3;

/** A complete message: header, payload, padding. */
export function encodeMessage(type: number, flags: number, sequence: number, payload: Buffer): Buffer {
  const length = HEADER_BYTES + payload.length;
  const message = Buffer.alloc(align(length));
  writeU32(message, 0, length);
  writeU16(message, 4, type);
  writeU16(message, 6, flags);
  writeU32(message, 8, sequence);
  payload.copy(message, HEADER_BYTES);
  return message;
}

/**
 * The messages of one datagram, in order. Stops at the first message with an impossible length, since the start of the
 * next one is unknown.
 */
export function* messagesOf(datagram: Buffer): Generator<NetlinkMessage> {
  for (let at = 0; at + HEADER_BYTES <= datagram.length; ) {
    const length = readU32(datagram, at);
    if (length < HEADER_BYTES || at + length > datagram.length) return;
    yield {
      type: readU16(datagram, at + 4),
      flags: readU16(datagram, at + 6),
      sequence: readU32(datagram, at + 8),
      payload: datagram.subarray(at + HEADER_BYTES, at + length),
    };
    at += align(length);
  }
}

/**
 * The content of an NLMSG_ERROR or NLMSG_DONE: a positive errno, or 0 for the requested acknowledgement and for a dump that is
 * complete.
 *
 * @returns `undefined` when the payload is too short
 */
export const errnoIn = (payload: Buffer): number | undefined =>
  payload.length < 4 ? undefined : Math.abs(readU32(payload, 0) | 0);
