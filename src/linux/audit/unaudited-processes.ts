import type { Clock } from '../../base/clock.ts';
import { type Duration, milliseconds, minutes } from '../../base/duration.ts';
import { messageOf } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { NoteFile } from '../../base/note-file.ts';
import { Turn } from '../../base/turn.ts';
import { ProcFolder } from '../../host/proc-folder.ts';
import type { AuditStatus } from './status.ts';

/*
 * The kernel gives a task what audit needs to report its system calls when the task is made, and only if audit has been
 * enabled at some time in this boot: audit_alloc() returns at once as long as audit_ever_enabled is 0 (kernel/auditsc.c).
 * So a process that was running when audit was first enabled is never reported itself, not even after it has executed
 * another program. Its new threads and children are. `audit=1` on the kernel's command line enables audit before the
 * first process starts.
 */

/** How many processes the reason names. */
const MAX_NAMED = 8;
/** Processes remembered; further ones are only counted. */
const MAX_REMEMBERED = 1_024;
/** How long a check of which of them are running is used. */
const LOOK_EVERY: Duration = minutes(1);

/** When audit was first enabled in a boot, as far as the agent knows. */
interface Enabling {
  readonly bootId: string;
  /** Since boot, as in ProcessStat. */
  readonly ticks: number;
  /** Whether the agent saw audit disabled just before; otherwise it was enabled earlier, at an unknown time. */
  readonly isKnown: boolean;
}

interface Parts {
  readonly proc: ProcFolder;
  /** The kernel's command line: /proc/cmdline. */
  readonly commandLine: string | undefined;
  readonly bootId: string;
  /**
   * Keeps the time of the enabling for the next start in the same boot. No sync is needed: a power cut ends the boot.
   */
  readonly note: NoteFile;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Whether the kernel's command line enables audit: audit_enable() of kernel/audit.c, where the last one wins. */
export function enablesAudit(commandLine: string): boolean {
  const values = commandLine
    .split(/\s+/)
    .filter((word) => word.startsWith('audit='))
    .map((word) => word.slice('audit='.length));
  return values.length > 0 && !['0', 'off'].includes(values.at(-1) ?? '');
}

/** The processes whose own system calls the kernel's audit never reports in this boot. */
export class UnauditedProcesses {
  readonly #parts: Parts;
  #enabling: Enabling | undefined;
  /** Start times by process id: those processes that ran when audit was enabled and are still running. */
  #older = new Map<number, number>();
  #notRemembered = 0;
  #lookedAt: Duration = milliseconds(Number.NEGATIVE_INFINITY);
  #reason: string | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /**
   * Finds out when audit was first enabled. Await it before the agent may enable audit; does nothing once that is known.
   * Never rejects: if audit is not available, there are no records to miss.
   */
  async look(ask: () => Promise<AuditStatus>): Promise<void> {
    const { commandLine, clock, log } = this.#parts;
    if (this.#enabling !== undefined || (commandLine !== undefined && enablesAudit(commandLine))) return;
    try {
      this.#enabling = this.#kept() ?? (await this.#find(ask));
      await this.#list(this.#enabling, new Turn(clock));
    } catch (error) {
      log.debug({ reason: messageOf(error) }, 'Could not find out when audit was first enabled.');
    }
  }

  /**
   * The reason in the collectors' status: how many such processes are still running, and which; `undefined` when there are
   * none. Checks them at most once a minute.
   */
  reason(): string | undefined {
    const now = this.#parts.clock.monotonic();
    if (this.#enabling === undefined || now - this.#lookedAt < LOOK_EVERY) return this.#reason;
    this.#lookedAt = now;
    for (const [pid, startTicks] of this.#older) {
      const stat = this.#parts.proc.stat(pid);
      if (stat === undefined || stat.isDead || stat.startTicks !== startTicks) this.#older.delete(pid);
    }
    this.#reason = this.#older.size === 0 ? undefined : this.#describe(this.#enabling);
    return this.#reason;
  }

  #describe({ isKnown }: Enabling): string {
    const pids = [...this.#older.keys()].sort((a, b) => a - b).slice(0, MAX_NAMED);
    const named = pids.map((pid) => `${this.#nameOf(pid)} (${pid})`);
    const count = this.#older.size + this.#notRemembered;
    const more = count > named.length ? `, and ${count - named.length} more` : '';
    const [processes, were] = count === 1 ? ['process', 'was'] : ['processes', 'were'];
    return (
      (isKnown
        ? `${count} ${processes} ${were} running when audit was first enabled in this boot. `
        : `${count} ${processes} started before the agent and may be older than audit in this boot ` +
          '(audit was already on). ') +
      "The kernel's audit reports the new threads and children of such a process, " +
      `but nothing that it does itself: ${named.join(', ')}${more}. ` +
      'Restart these services, or boot with audit=1 on the kernel\'s command line ("vakt check" says how).'
    );
  }

  #nameOf(pid: number): string {
    const executable = this.#parts.proc.executable(pid);
    return executable === undefined ? 'unknown' : executable.slice(executable.lastIndexOf('/') + 1).slice(0, 64);
  }

  #kept(): Enabling | undefined {
    const { note, bootId } = this.#parts;
    const kept = note.read() as Partial<Enabling> | null | undefined;
    const isOfThisBoot = kept?.bootId === bootId && Number.isSafeInteger(kept.ticks);
    return isOfThisBoot && typeof kept.isKnown === 'boolean' ? (kept as Enabling) : undefined;
  }

  async #find(ask: () => Promise<AuditStatus>): Promise<Enabling> {
    const { proc, bootId, note, log } = this.#parts;
    const { enabled, pid } = await ask();
    // A running daemon had enabled audit when it started.
    const daemon = enabled === 0 || pid === 0 || pid === process.pid ? undefined : proc.stat(pid);
    const ticks = daemon?.startTicks ?? Math.floor(proc.uptime() / ProcFolder.TICK_MS);
    const found: Enabling = { bootId, ticks, isKnown: enabled === 0 };
    try {
      note.write(found);
    } catch (error) {
      log.warn({ reason: messageOf(error) }, 'Could not save when audit was first enabled.');
    } finally {
      note.close(); // in the background, once it is written
    }
    return found;
  }

  async #list({ ticks }: Enabling, turn: Turn): Promise<void> {
    for (const pid of this.#parts.proc.pids().sort((a, b) => a - b)) {
      if (turn.isOver()) await turn.next();
      const stat = this.#parts.proc.stat(pid);
      if (stat === undefined || stat.isKernelThread || stat.isDead || stat.startTicks > ticks) continue;
      if (pid === process.pid) continue; // the agent's own activity is not reported
      if (this.#older.size < MAX_REMEMBERED) this.#older.set(pid, stat.startTicks);
      else this.#notRemembered += 1;
    }
  }
}
