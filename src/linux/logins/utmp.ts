import { endianness } from 'node:os';
import { formatAddress } from '../../host/ip-address.ts';

/** Kinds of records that matter here; see utmp(5). */
export const BOOT_TIME = 2;
export const USER_PROCESS = 7;
export const DEAD_PROCESS = 8;
/** The highest one there is. */
const ACCOUNTING = 9;

/** One `struct utmp`. What is in it is whatever a program, and who logs in through it, has chosen. */
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

/** Where an architecture has what differs. */
export interface UtmpLayout {
  readonly bytes: number;
  readonly secondsAt: number;
  /** Of the seconds, and of the microseconds behind them. */
  readonly timeBytes: 4 | 8;
  readonly addressAt: number;
  readonly order: 'LE' | 'BE';
}

/**
 * glibc keeps the layout of 32-bit programs where there ever were any; so it is the same on x86, 32-bit ARM and others.
 * 64-bit ARM, RISC-V and LoongArch have `long` fields instead, and 16 bytes more.
 * Source: __WORDSIZE_TIME64_COMPAT32 in bits/wordsize.h, struct utmp in bits/utmp.h.
 */
export function utmpLayout(arch: string = process.arch, order: 'LE' | 'BE' = endianness()): UtmpLayout {
  return ['arm64', 'riscv64', 'loong64'].includes(arch)
    ? { bytes: 400, secondsAt: 344, timeBytes: 8, addressAt: 360, order }
    : { bytes: 384, secondsAt: 340, timeBytes: 4, addressAt: 348, order };
}

/** Fields before those that differ: `short ut_type; pid_t ut_pid; char ut_line[32], ut_id[4], ut_user[32], ut_host[256]`. */
const PID_AT = 4;
const LINE = [8, 40] as const;
const USER = [44, 76] as const;
const HOST = [76, 332] as const;

/** @returns `undefined` when the bytes, of which there are as many as the layout says, are no such record */
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

/** The latest time that a Date can have, in seconds. */
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

/** Up to its zero byte, if it has one. */
function textIn(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString('utf8', 0, end === -1 ? bytes.length : end);
}

/** An IPv4 address has the first four bytes only; all zero is none. */
function addressOf(bytes: Buffer): string | undefined {
  if (bytes.every((byte) => byte === 0)) return undefined;
  return formatAddress(bytes.subarray(4).every((byte) => byte === 0) ? bytes.subarray(0, 4) : bytes);
}
