import type { Clock } from '../../../core/base/clock.ts';
import { type Duration, LONG_AGO, minutes } from '../../../core/base/duration.ts';
import { messageOf } from '../../../core/base/errors.ts';
import type { Logger } from '../../../core/base/log.ts';
import { Turn } from '../../../core/base/waiting.ts';
import { ProcFolder } from '../../host/proc-folder.ts';
import type { NoteFile } from '../../state/note-file.ts';
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

const RESTART = 'Restart these services.';
const RESTART_OR_BOOT =
  'Restart these services, or boot with audit=1 on the kernel\'s command line ("vakt check" says how).';

const UNKNOWN = 'Could not find out which processes audit does not report.';

/** Known facts about this boot. Times are since boot, in ticks, as in ProcessStat. */
interface Note {
  readonly bootId: string;
  /**
   * When audit was first enabled: processes that started later are reported. Omitted if unknown, or if that was before
   * the first process.
   */
  readonly ticks?: number;
  /** Whether the agent saw audit disabled just before; otherwise it was enabled earlier, at an unknown time. */
  readonly isKnown?: boolean;
  /** The last time at which no rule `-a never,task` was set, before the agent saw one; absent if it never saw one. */
  readonly hiddenFrom?: number;
  /** When the agent saw that the rule was gone; absent while the rule is set. */
  readonly hiddenUntil?: number;
}

interface Parts {
  readonly proc: ProcFolder;
  /** The kernel's command line: /proc/cmdline. */
  readonly commandLine: string | undefined;
  readonly bootId: string;
  /**
   * Keeps it for the next start in the same boot. No sync is needed: a power cut ends the boot.
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

/** The processes whose own system calls the kernel's audit does not report in this boot, or perhaps not. */
export class UnauditedProcesses {
  readonly #parts: Parts;
  #known: Note;
  #hasReadNote = false;
  #hasLooked = false;
  /** The last time at which no rule `-a never,task` was set. */
  #clearAt: Duration | undefined;
  /** Start times by process id. */
  #older = new Map<number, number>();
  /** Number of the latest listing; the result of an earlier listing is discarded. */
  #generation = 0;
  #notRemembered = 0;
  #lookedAt = LONG_AGO;
  #reason: string | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#known = { bootId: parts.bootId };
  }

  /**
   * Finds out since when audit reports the processes that start. Await it before the agent may enable audit; does nothing
   * once that is known. Never rejects: if audit is not available, there are no records to miss.
   *
   * @returns whether it is known
   */
  async ask(status: () => Promise<AuditStatus>): Promise<boolean> {
    try {
      this.#readNote();
      if (this.#known.ticks !== undefined || this.#isEnabledAtBoot) return true;
      const found = await status();
      this.#keep({ ...this.#known, ticks: this.#enabledAt(found), isKnown: found.enabled === 0 });
      return true;
    } catch (error) {
      this.#parts.log.debug({ reason: messageOf(error) }, UNKNOWN);
      return false;
    }
  }

  /** Also finds the processes that it does not report; once. Never rejects. */
  async look(status: () => Promise<AuditStatus>): Promise<void> {
    if (this.#hasLooked || !(await this.ask(status))) return;
    try {
      await this.#list();
      this.#hasLooked = true;
    } catch (error) {
      this.#parts.log.debug({ reason: messageOf(error) }, UNKNOWN);
    }
  }

  /**
   * Call this whenever the kernel's rules were read. Never rejects.
   *
   * @param isThere whether a rule of another program keeps audit from processes that start now, or from some of them
   */
  async foundTaskRule(isThere: boolean): Promise<void> {
    try {
      this.#readNote();
      const { hiddenFrom, hiddenUntil, ...known } = this.#known;
      const wasThere = hiddenFrom !== undefined && hiddenUntil === undefined;
      if (isThere && !wasThere)
        this.#keep({ ...known, hiddenFrom: Math.min(hiddenFrom ?? Infinity, this.#clearTicks()) });
      if (!isThere) this.#clearAt = this.#parts.clock.monotonic();
      if (isThere || !wasThere) return;
      this.#keep({ ...this.#known, hiddenUntil: this.#now() });
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
    if (now - this.#lookedAt < LOOK_EVERY) return this.#reason;
    this.#lookedAt = now;
    for (const [pid, startTicks] of this.#older) {
      const stat = this.#parts.proc.stat(pid);
      if (stat === undefined || stat.isDead || stat.startTicks !== startTicks) this.#older.delete(pid);
    }
    this.#reason = this.#older.size === 0 ? undefined : this.#describe();
    return this.#reason;
  }

  #describe(): string {
    const { isKnown, hiddenUntil } = this.#known;
    const pids = [...this.#older.keys()].sort((a, b) => a - b).slice(0, MAX_NAMED);
    const named = pids.map((pid) => `${this.#nameOf(pid)} (${pid})`);
    const count = this.#older.size + this.#notRemembered;
    const more = count > named.length ? `, and ${count - named.length} more` : '';
    const [processes, were, them] = count === 1 ? ['process', 'was', 'it'] : ['processes', 'were', 'them'];
    const hid = `while another program's audit rule -a never,task may have hidden ${them}`;
    let why = 'started before the agent and may be older than audit in this boot (audit was already on).';
    if (hiddenUntil !== undefined)
      why = this.#isEnabledAtBoot ? `started ${hid}.` : `started before audit was enabled in this boot, or ${hid}.`;
    else if (isKnown === true) why = `${were} running when audit was first enabled in this boot.`;
    return (
      `${count} ${processes} ${why} The kernel's audit reports the new threads and children of such a process, ` +
      `but ${hiddenUntil === undefined ? '' : 'perhaps '}nothing that it does itself: ${named.join(', ')}${more}. ` +
      (this.#isEnabledAtBoot ? RESTART : RESTART_OR_BOOT)
    );
  }

  #nameOf(pid: number): string {
    const executable = this.#parts.proc.executable(pid);
    return executable === undefined ? 'unknown' : executable.slice(executable.lastIndexOf('/') + 1).slice(0, 64);
  }

  get #isEnabledAtBoot(): boolean {
    return enablesAudit(this.#parts.commandLine ?? '');
  }

  #readNote(): void {
    if (this.#hasReadNote) return;
    this.#hasReadNote = true;
    const kept = this.#parts.note.read() as Partial<Note> | null | undefined;
    if (kept?.bootId !== this.#parts.bootId) return;
    const { ticks, isKnown, hiddenFrom, hiddenUntil } = kept;
    this.#known = {
      bootId: kept.bootId,
      ...(isTicks(ticks) && typeof isKnown === 'boolean' ? { ticks, isKnown } : {}),
      ...(isTicks(hiddenFrom) ? { hiddenFrom, ...(isTicks(hiddenUntil) ? { hiddenUntil } : {}) } : {}),
    };
  }

  #keep(known: Note): void {
    const { note, log } = this.#parts;
    this.#known = known;
    try {
      note.write(known);
    } catch (error) {
      log.warn({ reason: messageOf(error) }, 'Could not save which processes audit does not report.');
    }
  }

  /** The last time at which no rule `-a never,task` was set; 0 if unknown, since it may have been set since boot. */
  #clearTicks(): number {
    if (this.#clearAt === undefined) return 0;
    const ago = this.#parts.clock.monotonic() - this.#clearAt;
    return Math.max(0, this.#now() - Math.ceil(ago / ProcFolder.TICK_MS));
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
    this.#generation += 1;
    const generation = this.#generation;
    const { ticks = -1, hiddenFrom = 0, hiddenUntil = -1 } = this.#known;
    const older = new Map<number, number>();
    let notRemembered = 0;
    for (const pid of proc.pids().sort((a, b) => a - b)) {
      if (turn.isOver()) await turn.next();
      const stat = proc.stat(pid);
      if (stat === undefined || stat.isKernelThread || stat.isDead) continue;
      const { startTicks } = stat;
      if (startTicks > ticks && (startTicks < hiddenFrom || startTicks > hiddenUntil)) continue;
      if (pid === process.pid) continue; // the agent's own activity is not reported
      if (older.size < MAX_REMEMBERED) older.set(pid, startTicks);
      else notRemembered += 1;
    }
    if (generation !== this.#generation) return; // a later listing replaces this one
    this.#older = older;
    this.#notRemembered = notRemembered;
    this.#lookedAt = LONG_AGO;
  }
}

const isTicks = (value: unknown): value is number => Number.isSafeInteger(value);
