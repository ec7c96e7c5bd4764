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
 *
 * audit_alloc() leaves it out as well while a rule `-a never,task` applies, which Fedora has by default; and the task stays
 * without it when that rule is gone.
 */

/** How many processes the reason names. */
const MAX_NAMED = 8;
/** Processes remembered; further ones are only counted. */
const MAX_REMEMBERED = 1_024;
/** How long a check of which of them are running is used. */
const LOOK_EVERY: Duration = minutes(1);
const NEVER = milliseconds(Number.NEGATIVE_INFINITY);

const RESTART = 'Restart these services.';
const RESTART_OR_BOOT =
  'Restart these services, or boot with audit=1 on the kernel\'s command line ("vakt check" says how).';

const UNKNOWN = 'Could not find out which processes audit does not report.';

/** Since when audit reports the processes that start in a boot, as far as the agent knows. */
interface Beginning {
  readonly bootId: string;
  /** Since boot, as in ProcessStat. */
  readonly ticks: number;
  /** Whether the agent saw audit disabled just before; otherwise it was enabled earlier, at an unknown time. */
  readonly isKnown: boolean;
  /** Absent: the agent has seen no rule `-a never,task`. `gone`: the agent saw it last just before `ticks`. */
  readonly taskRule?: 'there' | 'gone';
}

interface Parts {
  readonly proc: ProcFolder;
  /** The kernel's command line: /proc/cmdline. */
  readonly commandLine: string | undefined;
  readonly bootId: string;
  /**
   * Keeps the beginning for the next start in the same boot. No sync is needed: a power cut ends the boot.
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
  #beginning: Beginning | undefined;
  #hasReadNote = false;
  #hasLooked = false;
  /** Start times by process id: those processes that are older than that and are still running. */
  #older = new Map<number, number>();
  #notRemembered = 0;
  #lookedAt: Duration = NEVER;
  #reason: string | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /**
   * Finds out since when audit reports the processes that start. Await it before the agent may enable audit; does nothing
   * once that is known. Never rejects: if audit is not available, there are no records to miss.
   */
  async look(ask: () => Promise<AuditStatus>): Promise<void> {
    const { commandLine, log } = this.#parts;
    if (this.#hasLooked) return;
    try {
      this.#readNote();
      if (this.#beginning === undefined) {
        if (commandLine !== undefined && enablesAudit(commandLine)) return;
        const status = await ask();
        this.#keep({ ticks: this.#enabledAt(status), isKnown: status.enabled === 0 });
      }
      this.#hasLooked = true;
      await this.#list();
    } catch (error) {
      log.debug({ reason: messageOf(error) }, UNKNOWN);
    }
  }

  /**
   * To be called whenever the kernel's rules were read. Never rejects.
   *
   * @param isThere whether a rule of another program keeps audit from processes that start now, or from some of them
   */
  async foundTaskRule(isThere: boolean): Promise<void> {
    try {
      this.#readNote();
      const before = this.#beginning;
      if (isThere === (before?.taskRule === 'there')) return;
      if (isThere) {
        this.#keep({ ...(before ?? { ticks: 0, isKnown: true }), taskRule: 'there' });
        return;
      }
      this.#keep({ ticks: this.#now(), isKnown: before?.isKnown === true, taskRule: 'gone' });
      await this.#list();
    } catch (error) {
      this.#parts.log.debug({ reason: messageOf(error) }, UNKNOWN);
    }
  }

  /**
   * The reason in the collectors' status: how many such processes are still running, and which; `undefined` when there are
   * none. Checks them at most once a minute.
   */
  reason(): string | undefined {
    const now = this.#parts.clock.monotonic();
    if (this.#beginning === undefined || now - this.#lookedAt < LOOK_EVERY) return this.#reason;
    this.#lookedAt = now;
    for (const [pid, startTicks] of this.#older) {
      const stat = this.#parts.proc.stat(pid);
      if (stat === undefined || stat.isDead || stat.startTicks !== startTicks) this.#older.delete(pid);
    }
    this.#reason = this.#older.size === 0 ? undefined : this.#describe(this.#beginning);
    return this.#reason;
  }

  #describe({ isKnown, taskRule }: Beginning): string {
    const pids = [...this.#older.keys()].sort((a, b) => a - b).slice(0, MAX_NAMED);
    const named = pids.map((pid) => `${this.#nameOf(pid)} (${pid})`);
    const count = this.#older.size + this.#notRemembered;
    const more = count > named.length ? `, and ${count - named.length} more` : '';
    const [processes, were] = count === 1 ? ['process', 'was'] : ['processes', 'were'];
    const [why, remedy] =
      taskRule === 'gone'
        ? ["started before another program's rule -a never,task was removed, and may be hidden by it.", RESTART]
        : isKnown
          ? [`${were} running when audit was first enabled in this boot.`, RESTART_OR_BOOT]
          : [
              'started before the agent and may be older than audit in this boot (audit was already on).',
              RESTART_OR_BOOT,
            ];
    return (
      `${count} ${processes} ${why} The kernel's audit reports the new threads and children of such a process, ` +
      `but nothing that it does itself: ${named.join(', ')}${more}. ${remedy}`
    );
  }

  #nameOf(pid: number): string {
    const executable = this.#parts.proc.executable(pid);
    return executable === undefined ? 'unknown' : executable.slice(executable.lastIndexOf('/') + 1).slice(0, 64);
  }

  #readNote(): void {
    if (this.#hasReadNote) return;
    this.#hasReadNote = true;
    const { note, bootId } = this.#parts;
    const kept = note.read() as Partial<Beginning> | null | undefined;
    if (kept?.bootId !== bootId || !Number.isSafeInteger(kept.ticks) || typeof kept.isKnown !== 'boolean') return;
    this.#beginning = kept as Beginning;
  }

  #keep(beginning: Omit<Beginning, 'bootId'>): void {
    const { note, bootId, log } = this.#parts;
    this.#beginning = { bootId, ...beginning };
    try {
      note.write(this.#beginning);
    } catch (error) {
      log.warn({ reason: messageOf(error) }, 'Could not save which processes audit does not report.');
    } finally {
      note.close(); // in the background, once it is written
    }
  }

  /** @returns ticks since boot */
  #enabledAt({ enabled, pid }: AuditStatus): number {
    // A running daemon had enabled audit when it started.
    const daemon = enabled === 0 || pid === 0 || pid === process.pid ? undefined : this.#parts.proc.stat(pid);
    return daemon?.startTicks ?? this.#now();
  }

  /** In ticks since boot. */
  #now(): number {
    return Math.floor(this.#parts.proc.uptime() / ProcFolder.TICK_MS);
  }

  async #list(): Promise<void> {
    const { proc, clock } = this.#parts;
    const turn = new Turn(clock);
    const ticks = this.#beginning?.ticks ?? 0;
    const older = new Map<number, number>();
    let notRemembered = 0;
    for (const pid of proc.pids().sort((a, b) => a - b)) {
      if (turn.isOver()) await turn.next();
      const stat = proc.stat(pid);
      if (stat === undefined || stat.isKernelThread || stat.isDead || stat.startTicks > ticks) continue;
      if (pid === process.pid) continue; // the agent's own activity is not reported
      if (older.size < MAX_REMEMBERED) older.set(pid, stat.startTicks);
      else notRemembered += 1;
    }
    this.#older = older;
    this.#notRemembered = notRemembered;
    this.#lookedAt = NEVER;
  }
}
