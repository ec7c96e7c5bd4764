import { USER_RECORDS } from './event.ts';
import {
  BPRM_FCAPS,
  CWD,
  EOE,
  EXECVE,
  INTEGRITY_RULE,
  PATH,
  PROCTITLE,
  SOCKADDR,
  SOCKETCALL,
  SYSCALL,
  URINGOP,
} from './reassembler.ts';

/** Record types by their names in auditd's log. Other records are skipped, but their serials are read. */
const TYPES = new Map<string, number>(
  Object.entries({
    SYSCALL,
    PATH,
    SOCKETCALL,
    SOCKADDR,
    CWD,
    EXECVE,
    EOE,
    BPRM_FCAPS,
    PROCTITLE,
    URINGOP,
    INTEGRITY_RULE,
    ...USER_RECORDS,
  }),
);
/** For a record whose name is not listed: a type that the kernel does not have. */
const OTHER = 0;

const TYPE = Buffer.from('type=');
const MESSAGE = Buffer.from(' msg=');
const BLANK = 0x20;
/** Separates the kernel's text from what auditd adds with `log_format = ENRICHED`. See auditd.conf(5). */
const ENRICHMENT = 0x1d;
/** Longer than any name of a record type. */
const LONGEST_NAME = 40;

/** The position of a record in a line of auditd's log. */
export interface LoggedRecord {
  readonly type: number;
  /** Where `audit(…)` begins. */
  readonly from: number;
  readonly to: number;
}

/**
 * Finds the record in a line of auditd's log; see audit.log's description in auditd.conf(5) and auparse:
 *
 *     type=CWD msg=audit(1795546164.720:28): cwd="/root"
 *     node=pump-7 type=SYSCALL msg=audit(1795546164.720:28): arch=c000003e syscall=59 … key="vakt"␝ARCH=x86_64 SYSCALL=execve
 *     type=UNKNOWN[1805] msg=audit(1795546164.720:28): file="/usr/bin/ls" hash="sha256:…"
 *
 * @param line in `buffer` between `start` and `end`, without its line end
 * @returns `undefined` when it is no such line
 */
export function findRecord(buffer: Buffer, start: number, end: number): LoggedRecord | undefined {
  const view = buffer.subarray(start, end);
  const typeAt = view.indexOf(TYPE);
  if (typeAt === -1 || (typeAt > 0 && view[typeAt - 1] !== BLANK)) return undefined;
  const nameAt = typeAt + TYPE.length;
  const messageAt = view.indexOf(MESSAGE, nameAt);
  if (messageAt === -1 || messageAt - nameAt > LONGEST_NAME) return undefined;
  const from = messageAt + MESSAGE.length;
  const enrichment = view.indexOf(ENRICHMENT, from);
  return {
    type: typeOf(view.toString('latin1', nameAt, messageAt)),
    from: start + from,
    to: enrichment === -1 ? end : start + enrichment,
  };
}

function typeOf(name: string): number {
  const known = TYPES.get(name);
  if (known !== undefined) return known;
  const number = /^UNKNOWN\[(\d{1,5})\]$/.exec(name)?.[1];
  return number === undefined ? OTHER : Number(number);
}
