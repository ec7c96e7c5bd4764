import type { Clock } from '../../../core/base/clock.ts';
import { type Duration, milliseconds, minutes, seconds } from '../../../core/base/duration.ts';
import { AgentError } from '../../../core/base/errors.ts';
import type { Logger } from '../../../core/base/log.ts';
import { printable } from '../../../core/base/text.ts';
import { isOwnProcess } from '../../host/own-processes.ts';
import type { AuditPrograms } from './audit-programs.ts';
import type { AuditHeader } from './header.ts';
import { type Doer, doerIn, type Notice, type NoticeKind, parseNotice } from './notices.ts';
import { parseFields } from './record.ts';

/** How long to wait for the SYSCALL record of the same event, which is made when the call returns. */
const CALL_LIMIT = milliseconds(500);
/** Events that wait for it. */
const MAX_WAITING = 64;
/** One line of each kind is logged in this time; the next one has the number of those left out. */
const LOG_INTERVAL = minutes(1);
/**
 * A process from before audit was first enabled makes no SYSCALL records, and the agent can be such a process. A change
 * without a process that was made or read this close to one by the agent is taken for the agent's. A slow or busy board reads
 * its first records seconds after they were made.
 */
const OWN_CHANGE_WINDOW = seconds(5);

const TAMPERING: Readonly<Partial<Record<NoticeKind, string>>> = {
  settings: "changed audit's settings",
  slot: 'changed the audit daemon',
  rules: 'changed audit rules',
  listener: 'listens to audit',
};
const OTHERS: Readonly<Partial<Record<NoticeKind, string>>> = {
  firewall: 'changed the packet filter',
  promiscuous: 'changed what an interface reads',
  crash: 'crashed',
  bpf: 'loaded a BPF program',
};

interface Parts {
  readonly clock: Clock;
  readonly log: Logger;
  /** Whether the agent changed audit's rules or settings between these moments. */
  readonly hasChanged: (from: Duration, until: Duration) => boolean;
  /** The processes that may take the slot, or listen, without a warning. */
  readonly programs: Pick<AuditPrograms, 'isDaemon' | 'isLogger'>;
}

interface Waiting {
  readonly notices: Notice[];
  readonly since: Duration;
  /** When the kernel made it. */
  readonly madeAt: Duration;
  by: Doer | undefined;
}

/** How many lines of a kind were logged recently. */
interface RecentLines {
  readonly until: Duration;
  more: number;
  last: string;
}

/**
 * Logs what the kernel reports on its own: changes of audit by other processes as a warning, which makes a Diagnostic event;
 * the rest as information. Names the process; the agent's own actions are not logged. The first notice of each kind is
 * logged at once, then one line per minute with the number of others.
 */
export class NoticeBoard {
  readonly #parts: Parts;
  readonly #waiting = new Map<number, Waiting>();
  readonly #recent = new Map<NoticeKind, RecentLines>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Whether the SYSCALL record of this event is needed to name the process. */
  isWaitingFor(serial: number): boolean {
    return this.#waiting.has(serial);
  }

  get isIdle(): boolean {
    return this.#waiting.size === 0;
  }

  /** Takes a record for which isNotice(type) holds. @param text without its header, as latin1 */
  take(type: number, { serial, time }: AuditHeader, text: string): void {
    const notice = parseNotice(type, text);
    if (notice === undefined) return;
    const waiting = this.#waiting.get(serial);
    if (waiting !== undefined) {
      if (waiting.notices.length < MAX_WAITING) waiting.notices.push(notice);
      return;
    }
    if (this.#waiting.size >= MAX_WAITING) this.#release(true);
    const { clock } = this.#parts;
    const since = clock.monotonic();
    const madeAt = milliseconds(since - Math.max(clock.now().getTime() - time, 0));
    this.#waiting.set(serial, { notices: [notice], since, madeAt, by: undefined });
  }

  /** Takes the SYSCALL record of the same event. */
  takeCall({ serial }: AuditHeader, text: string): void {
    const waiting = this.#waiting.get(serial);
    if (waiting !== undefined) waiting.by = doerIn(parseFields(text));
  }

  /** Logs what is complete. Call it after every drain. @param last nothing more will come */
  settle(last = false): void {
    if (this.#waiting.size > 0) this.#release(last);
    const now = this.#parts.clock.monotonic();
    for (const [kind, { until, more, last: text }] of this.#recent) {
      if (now < until && !last) continue;
      this.#recent.delete(kind);
      if (more > 0) this.#log(kind, `${text}; ${more} more in a minute`, now);
    }
  }

  #release(all: boolean): void {
    const now = this.#parts.clock.monotonic();
    for (const [serial, { notices, since, madeAt, by }] of this.#waiting) {
      if (by === undefined && !all && now - since < CALL_LIMIT) continue;
      this.#waiting.delete(serial);
      for (const notice of notices)
        this.#report({ ...notice, ...((by ?? notice.by) ? { by: by ?? notice.by } : {}) } as Notice, madeAt);
    }
  }

  #report({ kind, what, by }: Notice, madeAt: Duration): void {
    if (this.#isOwn(kind, by, madeAt)) return;
    if (kind === 'slot' && this.#isUsual(what, by)) return;
    if (kind === 'listener' && by !== undefined && this.#parts.programs.isLogger(by)) return;
    const now = this.#parts.clock.monotonic();
    const text = printable(`${nameOf(by)} ${TAMPERING[kind] ?? OTHERS[kind]}: ${what}`);
    const recent = this.#recent.get(kind);
    if (recent === undefined) this.#log(kind, text, now);
    else {
      recent.more += 1;
      recent.last = text;
    }
  }

  /**
   * Whether auditd took the slot, or a daemon released it, which only the daemon itself can do. A process that takes the slot
   * can only name itself, so its pid is known even without a SYSCALL record.
   */
  #isUsual(what: string, by: Doer | undefined): boolean {
    const pid = Number(/^audit_pid=(\d+)/.exec(what)?.[1] ?? Number.NaN);
    return pid === 0 || this.#parts.programs.isDaemon({ ...by, pid });
  }

  #isOwn(kind: NoticeKind, by: Doer | undefined, madeAt: Duration): boolean {
    if (by !== undefined) return by.pid === process.pid || isOwnProcess(by.pid, by.parentPid ?? 0);
    if (TAMPERING[kind] === undefined) return false;
    const near = (moment: Duration) =>
      this.#parts.hasChanged(milliseconds(moment - OWN_CHANGE_WINDOW), milliseconds(moment + OWN_CHANGE_WINDOW));
    return near(madeAt) || near(this.#parts.clock.monotonic());
  }

  #log(kind: NoticeKind, text: string, now: Duration): void {
    const { log } = this.#parts;
    this.#recent.set(kind, { until: milliseconds(now + LOG_INTERVAL), more: 0, last: text });
    if (TAMPERING[kind] === undefined) log.info({ reason: text }, 'The kernel reports a change or a crash.');
    else log.warn({ err: tampered(text) }, "Another process interferes with the kernel's audit.");
  }
}

/** `/usr/sbin/auditctl (process 7, user 0, login user 1000)`. */
function nameOf(by: Doer | undefined): string {
  if (by === undefined) return 'A process that audit does not name';
  const login = by.loginId === undefined ? '' : `, login user ${by.loginId}`;
  return `${by.executable ?? 'a program'} (process ${by.pid}, user ${by.userId ?? '?'}${login})`;
}

const tampered = (text: string) =>
  new AgentError(
    'AUDIT_TAMPERED',
    text,
    'Check whether the change was intended: auditctl -s and auditctl -l show the current audit configuration.',
  );
