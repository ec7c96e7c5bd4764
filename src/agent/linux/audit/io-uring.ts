import type { Clock } from '../../../core/base/clock.ts';
import { type Duration, minutes } from '../../../core/base/duration.ts';
import { AgentError } from '../../../core/base/errors.ts';
import type { Logger } from '../../../core/base/log.ts';
import { printable } from '../../../core/base/text.ts';
import type { AuditEvent, AuditFields } from './event.ts';
import { parseFields } from './record.ts';
import { type AuditRule, KEYS, RING_OPERATIONS } from './rules.ts';

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

/** Programs, each with its user, that are reported once. Beyond that, all are forgotten and reported again. */
const MAX_KNOWN = 1_000;
/** Lines per minute; a user who starts many programs must not push out other lines. */
const MAX_LINES = 5;
const A_MINUTE = minutes(1);

/** While one of these is requested, io_uring_setup is, too. */
const ASKED_WITH: ReadonlySet<string> = new Set(['connect', 'execve']);

/**
 * Adds the rule that reports who sets up an io_uring when connections or program starts are requested: switching one of them
 * off must not hide it. It needs no kernel rule of its own: accept(2) and execve(2) have the same condition.
 */
export const withRings = (rules: readonly AuditRule[]): readonly AuditRule[] =>
  rules.some(({ syscalls }) => syscalls.some((syscall) => ASKED_WITH.has(syscall)))
    ? [...rules, { syscalls: ['io_uring_setup'], where: { success: 1 } }]
    : rules;

/**
 * Warns once for each program and user that sets up an io_uring. The kernel carries out its requests without a system call:
 * no audit rule for connect(2), openat(2), renameat(2) or unlinkat(2) sees them. Most of its connections are reported by
 * rules of their own, see ringRules.
 */
export class RingUsers {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #known = new Set<string>();
  #minuteBegan: Duration | undefined;
  #lines = 0;
  #left = 0;

  constructor({ clock, log }: { clock: Clock; log: Logger }) {
    this.#clock = clock;
    this.#log = log;
  }

  /** Takes audit events; other system calls are ignored. */
  accept(events: readonly AuditEvent[]): void {
    for (const event of events) if (event.syscall === 'io_uring_setup' && event.success) this.#take(event);
  }

  #take({ fields: { exe = 'unknown', euid = '?', pid = '?' } }: AuditEvent): void {
    if (Number(pid) === process.pid) return;
    const user = `${euid} ${exe}`;
    if (this.#known.has(user)) return;
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    this.#known.add(user);
    if (this.#mayLog()) this.#warn(`${exe} (process ${pid}, user ${euid}) has set up an io_uring`);
    else this.#left += 1;
  }

  #mayLog(): boolean {
    const now = this.#clock.monotonic();
    if (this.#minuteBegan === undefined || now - this.#minuteBegan >= A_MINUTE) {
      this.#minuteBegan = now;
      this.#lines = 0;
    }
    this.#lines += 1;
    return this.#lines <= MAX_LINES;
  }

  #warn(text: string): void {
    const others = this.#left === 0 ? '' : `; ${this.#left} other programs did so before`;
    this.#left = 0;
    const err = new AgentError(
      'IO_URING_USED',
      printable(`${text}${others}.`),
      'Check whether the program needs it; sysctl kernel.io_uring_disabled=1 denies it to those without CAP_SYS_ADMIN.',
    );
    this.#log.warn(
      { err },
      'A program uses io_uring, which lets it change files and make some connections that audit does not report.',
    );
  }
}
