import { endianness } from 'node:os';
import { formatAddress } from '../../host/ip-address.ts';

/** The record types used here; see utmp(5). */
export const BOOT_TIME = 2;
export const USER_PROCESS = 7;
export const DEAD_PROCESS = 8;
/** The highest type. */
const ACCOUNTING = 9;

/** One `struct utmp`. Its content is chosen by the program that wrote it, and by the user who logs in. */
export interface UtmpRecord {
  readonly type: number;
  readonly timeMs: number;
  readonly pid: number;
  /** Terminal without `/dev/`, or a service: `pts/0`, `ssh:notty`. */
  readonly line: string;
  readonly user: string;
  readonly host: string;
  /** IP text, RFC 5952. */
  readonly address?: string;
}

/** Field offsets that differ between architectures. */
export interface UtmpLayout {
  readonly bytes: number;
  readonly secondsAt: number;
  /** Size of the seconds field and of the microseconds field after it. */
  readonly timeBytes: 4 | 8;
  readonly addressAt: number;
  readonly order: 'LE' | 'BE';
}

/**
 * glibc keeps the 32-bit layout on architectures that ever had 32-bit programs, so it is the same on x86, 32-bit ARM and
 * others. 64-bit ARM, RISC-V and LoongArch have `long` fields, and records that are 16 bytes longer.
 * Source: __WORDSIZE_TIME64_COMPAT32 in bits/wordsize.h, struct utmp in bits/utmp.h.
 *
 * musl has times of 64 bits on all architectures; on 32-bit x86, which aligns them to 4 bytes, its records are 4 bytes shorter.
 * Source: struct utmpx in musl's include/utmpx.h, since musl 1.2.
 */
export function utmpLayout(
  arch: string = process.arch,
  order: 'LE' | 'BE' = endianness(),
  { isMusl = false }: { isMusl?: boolean } = {},
): UtmpLayout {
  return isMusl || ['arm64', 'riscv64', 'loong64'].includes(arch)
    ? { bytes: isMusl && arch === 'ia32' ? 396 : 400, secondsAt: 344, timeBytes: 8, addressAt: 360, order }
    : { bytes: 384, secondsAt: 340, timeBytes: 4, addressAt: 348, order };
}

/**
 * The fields that are the same on all: `short ut_type; pid_t ut_pid; char ut_line[32], ut_id[4], ut_user[32], ut_host[256]`.
 */
const PID_AT = 4;
const LINE = [8, 40] as const;
const USER = [44, 76] as const;
const HOST = [76, 332] as const;

/** @param bytes exactly one record long @returns `undefined` when they are not a valid record */
export function parseUtmp(bytes: Buffer, layout: UtmpLayout): UtmpRecord | undefined {
  const type = layout.order === 'LE' ? bytes.readInt16LE(0) : bytes.readInt16BE(0);
  const timeMs = timeOf(bytes, layout);
  if (type < 0 || type > ACCOUNTING || timeMs === undefined) return undefined;
  const address = addressOf(bytes.subarray(layout.addressAt, layout.addressAt + 16));
  return {
    type,
    timeMs,
    pid: Math.max(0, layout.order === 'LE' ? bytes.readInt32LE(PID_AT) : bytes.readInt32BE(PID_AT)),
    line: textIn(bytes.subarray(...LINE)),
    user: textIn(bytes.subarray(...USER)),
    host: textIn(bytes.subarray(...HOST)),
    ...(address === undefined ? {} : { address }),
  };
}

/** The latest time that a Date can represent, in seconds. */
const LATEST = 8_640_000_000_000;

function timeOf(bytes: Buffer, { secondsAt, timeBytes, order }: UtmpLayout): number | undefined {
  const read = (at: number) => {
    if (timeBytes === 4) return order === 'LE' ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at);
    return Number(order === 'LE' ? bytes.readBigInt64LE(at) : bytes.readBigInt64BE(at));
  };
  const seconds = read(secondsAt);
  const micros = read(secondsAt + timeBytes);
  if (seconds < 0 || seconds >= LATEST) return undefined;
  return seconds * 1_000 + (micros >= 0 && micros < 1_000_000 ? Math.floor(micros / 1_000) : 0);
}

/** Text up to its zero byte, if there is one. */
function textIn(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString('utf8', 0, end === -1 ? bytes.length : end);
}

/** An IPv4 address uses the first four bytes only; all zeros mean no address. */
function addressOf(bytes: Buffer): string | undefined {
  if (bytes.every((byte) => byte === 0)) return undefined;
  return formatAddress(bytes.subarray(4).every((byte) => byte === 0) ? bytes.subarray(0, 4) : bytes);
}
