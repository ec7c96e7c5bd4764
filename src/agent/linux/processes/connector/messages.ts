import { IS_LITTLE_ENDIAN, writeU16, writeU32 } from '../../native/byte-order.ts';
import { HEADER_BYTES } from '../../native/netlink/message.ts';
import {
  assemble,
  copyToX,
  drop,
  type Instruction,
  ifEquals,
  ifEqualsX,
  keep,
  load,
} from '../../native/socket-filter.ts';

/* The process connector's messages: a struct cn_msg, with a struct proc_event or a request in it. All numbers are in the
 * host's byte order. See linux/connector.h and linux/cn_proc.h. */

/** CN_IDX_PROC and CN_VAL_PROC; the index is the number of the multicast group as well. */
const INDEX = 1;
const VALUE = 1;
/** CN_IDX_PROC as a bit mask. */
export const GROUPS = 1 << (INDEX - 1);

/** Of enum proc_cn_event: what happened. */
export const NONE = 0;
export const EXEC = 0x2;
export const EXIT = 0x8000_0000;

/** Of enum proc_cn_mcast_op: the two requests. */
export const LISTEN = 1;
export const IGNORE = 2;

/** struct cn_msg: u32 index, value, sequence, acknowledgement; u16 length, flags. */
const MESSAGE_BYTES = 20;
/** struct proc_event: u32 what, cpu; u64 nanoseconds; then what depends on `what`. */
const EVENT_BYTES = 16;
/** Offsets in a datagram, which has one struct nlmsghdr and one message. */
const AT = {
  index: HEADER_BYTES,
  value: HEADER_BYTES + 4,
  acknowledgement: HEADER_BYTES + 12,
  length: HEADER_BYTES + 16,
  what: HEADER_BYTES + MESSAGE_BYTES,
  nanoseconds: HEADER_BYTES + MESSAGE_BYTES + 8,
  thread: HEADER_BYTES + MESSAGE_BYTES + EVENT_BYTES,
  process: HEADER_BYTES + MESSAGE_BYTES + EVENT_BYTES + 4,
  exitCode: HEADER_BYTES + MESSAGE_BYTES + EVENT_BYTES + 8,
} as const;

/** NLMSG_DONE: the type of all messages of the connector. */
export const MESSAGE_TYPE = 3;

interface When {
  /** Of CLOCK_MONOTONIC; see Clock.fromKernel. */
  readonly nanoseconds: number;
}

/** The events that the agent reads. */
export type ProcessEvent =
  /** A process executed a program. */
  | (When & { readonly what: typeof EXEC; readonly pid: number })
  /** A thread ended; if it is the first one, the process did, with some exceptions (see exits.ts). */
  | (When & { readonly what: typeof EXIT; readonly pid: number; readonly threadId: number; readonly code: number })
  /** The answer to a request of any listener, sent to all. */
  | (When & { readonly what: typeof NONE; readonly acknowledgement: number; readonly errno: number });

/**
 * Reads one datagram.
 *
 * @param datagram a DataView, since V8 compiles each read to a single load; there is one datagram per exit
 * @param length of the datagram; the view may be longer
 * @returns `undefined` when it is not from the connector, truncated, or an event that is not read
 */
export function decodeEvent(datagram: DataView, length: number): ProcessEvent | undefined {
  if (length < AT.exitCode || u32(datagram, AT.index) !== INDEX || u32(datagram, AT.value) !== VALUE) return undefined;
  if (datagram.getUint16(AT.length, IS_LITTLE_ENDIAN) > length - AT.what) return undefined;
  const nanoseconds = u64(datagram, AT.nanoseconds);
  const what = u32(datagram, AT.what);
  if (what === NONE) {
    const acknowledgement = u32(datagram, AT.acknowledgement);
    return { what, nanoseconds, acknowledgement, errno: Math.abs(datagram.getInt32(AT.thread, IS_LITTLE_ENDIAN)) };
  }
  const threadId = datagram.getInt32(AT.thread, IS_LITTLE_ENDIAN);
  const pid = datagram.getInt32(AT.process, IS_LITTLE_ENDIAN);
  if (threadId <= 0 || pid <= 0) return undefined;
  if (what === EXEC) return { what, nanoseconds, pid };
  if (what !== EXIT || length < AT.exitCode + 4) return undefined;
  return { what, nanoseconds, pid, threadId, code: u32(datagram, AT.exitCode) };
}

const u32 = (datagram: DataView, at: number): number => datagram.getUint32(at, IS_LITTLE_ENDIAN);
/** Exact up to 2^53. */
const u64 = (datagram: DataView, at: number): number =>
  u32(datagram, IS_LITTLE_ENDIAN ? at : at + 4) + u32(datagram, IS_LITTLE_ENDIAN ? at + 4 : at) * 2 ** 32;

/**
 * A request, without its struct nlmsghdr.
 *
 * @param acknowledgement returned in the answer, increased by one; nothing else identifies the answer
 */
export function encodeRequest(operation: typeof LISTEN | typeof IGNORE, acknowledgement: number): Buffer {
  const request = Buffer.alloc(MESSAGE_BYTES + 4);
  writeU32(request, 0, INDEX);
  writeU32(request, 4, VALUE);
  writeU32(request, 12, acknowledgement);
  writeU16(request, 16, 4);
  writeU32(request, MESSAGE_BYTES, operation);
  return request;
}

/**
 * Passes one kind of events on to the instructions after it, keeps one answer, if its number is given, and drops everything
 * else: any user can have the kernel send answers to all listeners.
 */
const only = (what: number, answer?: number): Instruction[] =>
  answer === undefined
    ? [load(AT.what), ifEquals(what, 1, 0), drop]
    : [
        ...[load(AT.what), ifEquals(what, 5, 0), ifEquals(NONE, 0, 2)],
        ...[load(AT.acknowledgement), ifEquals(answer, 1, 0), drop, keep],
      ];

/** Passes executed programs. @param answer the number of an answer that is passed, too */
export const execsOnly = (answer?: number): Buffer => assemble([...only(EXEC, answer), keep]);

/** Limit for `exitsOnly`: each process takes an instruction, and jumps are limited to 255. */
export const MAX_WATCHED = 64;

/**
 * Passes the ends of whole processes: of first threads, whose id is the process's.
 *
 * @param watched processes of which the ends of all threads are passed; at most MAX_WATCHED
 * @param answer the number of an answer that is passed, too
 */
export function exitsOnly(watched: readonly number[] = [], answer?: number): Buffer {
  const threads = watched.map((pid, index) => ifEquals(pid, watched.length - index, 0));
  return assemble([
    ...only(EXIT, answer),
    load(AT.thread),
    copyToX,
    load(AT.process),
    ifEqualsX(threads.length + 1, 0),
    ...threads,
    drop,
    keep,
  ]);
}
