import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../../../core/base/clock.ts';
import type { Duration } from '../../../core/base/duration.ts';
import { messageOf } from '../../../core/base/errors.ts';
import type { Logger } from '../../../core/base/log.ts';
import { hostProc } from '../../host/in-root.ts';
import { ProcFolder } from '../../host/proc-folder.ts';
import type { BackgroundWriter } from '../../state/background-writer.ts';
import { AUDIT_LOG, type Beginning } from './audit-log-source.ts';
import { CatchUp } from './catch-up.ts';
import { type AuditPosition, Checkpoint } from './checkpoint.ts';
import type { AuditEvent } from './event.ts';
import type { ResumePoint } from './log-tail.ts';

interface Parts {
  readonly stateDirectory: string;
  readonly hostRoot: string;
  /** Receives the events that were missed while the agent was not running. */
  readonly deliver: (events: readonly AuditEvent[]) => void;
  /** Whether what was delivered is still worked on; see StreamSink.isBehind. */
  readonly isBehind?: () => boolean;
  readonly writer?: BackgroundWriter | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Saves a checkpoint of the audit events read, and at the start reads the events missed since then from auditd's log.
 *
 * The checkpoint moves only when every event before it has been passed on and worked on, so not before catching up is
 * complete.
 */
export class AuditFollower {
  readonly #parts: Parts;
  readonly #checkpoint: Checkpoint;
  readonly #bootId: string;
  /** The checkpoint of the last run. */
  readonly #left: AuditPosition | undefined;
  readonly #bootedAtMs: number;
  readonly #stopping = new AbortController();
  #resumedFrom: AuditPosition | undefined;
  /** Whether auditd's log is the source, and what it had when it was opened is still being read. */
  #readsPast = false;
  #catchUp: CatchUp | undefined;
  #catchingUp: Promise<unknown> = Promise.resolve();
  #started = false;
  /** Time and serial of the newest event that was passed on. */
  #newest: { timeMs: number; serial: number } | undefined;
  #moved = false;
  #warned = false;

  constructor(parts: Parts) {
    this.#parts = parts;
    const { stateDirectory, hostRoot, clock, writer } = parts;
    this.#bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
    this.#checkpoint = new Checkpoint(join(stateDirectory, 'audit-checkpoint.json'), this.#bootId, writer);
    this.#left = this.#checkpoint.read();
    this.#bootedAtMs = clock.now().getTime() - new ProcFolder(hostProc(hostRoot)).uptime();
  }

  /** Where to resume in auditd's log, for a source that reads it from now on. */
  resume(): Beginning {
    this.#resumedFrom = this.#newest === undefined ? this.#left : { bootId: this.#bootId, ...this.#newest };
    this.#readsPast = this.#resumedFrom !== undefined;
    if (this.#resumedFrom === undefined) return {};
    const { timeMs: since, log: position, bootId } = this.#resumedFrom;
    const serial = bootId === this.#bootId ? this.#resumedFrom.serial : undefined;
    const opened = (isThere: boolean) => {
      if (isThere) this.#resumedFrom = undefined;
    };
    const reachedEnd = () => {
      this.#readsPast = false;
      if (bootId !== this.#bootId) this.#resumedFrom = undefined;
    };
    return { since, serial, opened, reachedEnd, ...(position === undefined ? {} : { position }) };
  }

  /**
   * Whether an event in the log was not yet reported when `resume` was called. When the log is read from the exact position
   * where it was left, every event is new; serials are not compared then, since they can be out of order. What was written
   * since it was opened is not compared by time, which may be set back.
   */
  isNew(event: AuditEvent): boolean {
    const bootedAtMs = this.#readsPast ? this.#bootedAtMs : Number.NEGATIVE_INFINITY;
    return this.#resumedFrom === undefined || this.#checkpoint.isAfter(this.#resumedFrom, event, bootedAtMs);
  }

  /** Whether what auditd's log had when it was opened as the source is still being read. */
  get readsPast(): boolean {
    return this.#readsPast;
  }

  /** Called when listening has begun: catches up once, unless the source is the log itself. */
  began(readsLog: boolean): void {
    if (this.#started) return;
    this.#started = true;
    if (this.#left === undefined || readsLog) return;
    const { hostRoot, deliver, clock, log } = this.#parts;
    const path = join(hostRoot, AUDIT_LOG);
    const position = this.#left;
    const checkpoint = this.#checkpoint;
    const catchUp = new CatchUp({
      path,
      checkpoint,
      position,
      bootedAtMs: this.#bootedAtMs,
      // Saved now, so that these events are not sent again if the agent exits before the first live event.
      deliver: (events) => {
        deliver(events);
        this.#moveTo(events);
      },
      clock,
      log,
    });
    this.#catchUp = catchUp;
    this.#catchingUp = catchUp.run(this.#stopping.signal).then(() => {
      this.#catchUp = undefined;
    });
  }

  /** Whether missed events are still being read. */
  get isCatchingUp(): boolean {
    return this.#catchUp !== undefined;
  }

  /** These events came live, or from the log as the source. They were passed on, or no stream wanted them. */
  seen(events: readonly AuditEvent[]): void {
    this.#catchUp?.sawLive(events);
    this.#moveTo(events);
  }

  /** Resumes after these events at the next start. */
  #moveTo(events: readonly AuditEvent[]): void {
    for (const { time, serial } of events) {
      const timeMs = time.getTime();
      if (this.#newest === undefined) this.#newest = { timeMs, serial };
      else {
        if (((serial - this.#newest.serial) | 0) > 0) this.#newest.serial = serial;
        if (timeMs > this.#newest.timeMs) this.#newest.timeMs = timeMs;
      }
      this.#moved = true;
    }
  }

  /**
   * Everything read so far has been passed on.
   *
   * @param until everything that had arrived by then was read
   */
  mark(until: Duration, log?: ResumePoint): void {
    this.#catchUp?.read(until);
    this.#write(log);
  }

  #write(log?: ResumePoint): void {
    if (!this.#moved || this.#newest === undefined || this.#catchUp !== undefined) return;
    if (this.#parts.isBehind?.() === true) return; // kill -9 must not lose what would come of these events
    this.#moved = false;
    try {
      this.#checkpoint.write({ ...this.#newest, ...(log === undefined ? {} : { log }) });
    } catch (error) {
      if (!this.#warned) this.#parts.log.warn({ reason: messageOf(error) }, 'Could not save the audit checkpoint.');
      this.#warned = true;
    }
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#catchingUp;
    this.#write();
  }
}
