import type { AuditFields } from './event.ts';
import { parseFields } from './record.ts';
import { KEYS, RING_OPERATIONS } from './rules.ts';

const WANTED = new Set(['uring_op', 'exit', 'ppid', 'pid', 'euid']);
const CONNECT = String(RING_OPERATIONS.connect);
/** EAGAIN: the operation could not complete at once. */
const TRIED = '-11';

/** The URINGOP records of one event. */
export interface RingCalls {
  /** Fields of the first record. */
  readonly fields: AuditFields;
  /** Connects that could not complete at once. */
  tried: number;
  /** Connects that completed at once, and retries of the others. */
  done: number;
}

/**
 * Reads a URINGOP record, and adds it to those of its event.
 *
 *     uring_op=16 success=no exit=-11 items=0 ppid=20137 pid=20162 uid=0 … euid=0 … key="vakt"
 *
 * `exit` is not the result of the connect: a refused one has `success=yes exit=0`, too. A TCP connect usually has two
 * records in the event of the io_uring_enter(2) that requested it: one for each try. If a kernel thread made the connect
 * (IORING_SETUP_SQPOLL), only the first try is reported.
 *
 * @returns `undefined` for other operations
 */
export function addRingCall(text: string, before: RingCalls | undefined): RingCalls | undefined {
  const fields = parseFields(text, WANTED);
  if (fields.uring_op !== CONNECT) return before;
  const calls = before ?? { fields, tried: 0, done: 0 };
  if (fields.exit === TRIED) calls.tried += 1;
  else calls.done += 1;
  return calls;
}

/** A lower bound: a connect has a first try, a completion, or both. */
export const connectsOf = ({ tried, done }: RingCalls): number => Math.max(tried, done, 1);

/**
 * Whether the SYSCALL record of an io_uring_enter(2) is due to one of the agent's rules about io_uring: it has no rule for
 * that call. So the event is reported even if the URINGOP records were lost, or arrived too long before.
 */
export const isOfRingRule = (call: string): boolean => KEYS.some((key) => call.endsWith(` key="${key}"`));

/** The meaning of such a SYSCALL record without URINGOP records: one connect, if the event has an address. */
export const oneRingCall = (fields: AuditFields): RingCalls => ({ fields, tried: 0, done: 1 });
