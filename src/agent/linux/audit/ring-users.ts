import type { Clock } from '../../../core/base/clock.ts';
import { type Duration, minutes } from '../../../core/base/duration.ts';
import { AgentError } from '../../../core/base/errors.ts';
import type { Logger } from '../../../core/base/log.ts';
import { printable } from '../../../core/base/text.ts';
import type { AuditEvent } from './event.ts';
import type { AuditRule } from './rules.ts';

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
