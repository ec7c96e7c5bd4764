import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BackgroundWriter } from '../../base/background-writer.ts';
import type { Clock } from '../../base/clock.ts';
import type { Duration } from '../../base/duration.ts';
import { messageOf } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { ProcFolder } from '../../host/proc-folder.ts';
import { AUDIT_LOG, type Beginning } from './audit-log-source.ts';
import { CatchUp } from './catch-up.ts';
import { type AuditPosition, Checkpoint } from './checkpoint.ts';
import type { AuditEvent } from './event.ts';
import type { ResumePoint } from './log-tail.ts';

interface Parts {
  readonly stateDirectory: string;
  readonly hostRoot: string;
  /** Takes what the last run missed. */
  readonly deliver: (events: readonly AuditEvent[]) => void;
  readonly writer?: BackgroundWriter | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Remembers how far audit has been followed, and at the start catches up with what auditd's log holds from then on.
 *
 * The mark moves only when everything before it has been handed over; so not before the catching up is done.
 */
export class AuditFollower {
  readonly #parts: Parts;
  readonly #checkpoint: Checkpoint;
  readonly #bootId: string;
  /** Where the last run ended. */
  readonly #left: AuditPosition | undefined;
  readonly #bootedAtMs: number;
  readonly #stopping = new AbortController();
  #resumedFrom: AuditPosition | undefined;
  #catchUp: CatchUp | undefined;
  #catchingUp: Promise<unknown> = Promise.resolve();
  #started = false;
  /** Of the newest event that has been handed over. */
  #newest: { timeMs: number; serial: number } | undefined;
  #moved = false;
  #complained = false;

  constructor(parts: Parts) {
    this.#parts = parts;
    const { stateDirectory, hostRoot, clock, writer } = parts;
    this.#bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
    this.#checkpoint = new Checkpoint(join(stateDirectory, 'audit-checkpoint.json'), this.#bootId, writer);
    this.#left = this.#checkpoint.read();
    this.#bootedAtMs = clock.now().getTime() - new ProcFolder(join(hostRoot, 'proc')).uptime();
  }

  /** Where to go on in auditd's log, for who reads that from now on. */
  resume(): Beginning {
    this.#resumedFrom = this.#newest === undefined ? this.#left : { bootId: this.#bootId, ...this.#newest };
    if (this.#resumedFrom === undefined) return {};
    const { timeMs: since, log: position, bootId } = this.#resumedFrom;
    const serial = bootId === this.#bootId ? this.#resumedFrom.serial : undefined;
    const opened = (isThere: boolean) => {
      if (isThere) this.#resumedFrom = undefined;
    };
    return { since, serial, opened, ...(position === undefined ? {} : { position }) };
  }

  /**
   * Whether an event of the log hasn't been told before `resume` was called. Where the log is read on from where it was
   * left, all are new: serials may be out of order, so that they aren't even asked.
   */
  isNew(event: AuditEvent): boolean {
    return this.#resumedFrom === undefined || this.#checkpoint.isAfter(this.#resumedFrom, event, this.#bootedAtMs);
  }

  /** Listening has begun: catches up, unless the log itself is what is read. Does so once. */
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
      // Handed over once: also when the agent ends before it hears anything live.
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

  /** Whether what the last run missed is still being read. */
  get isCatchingUp(): boolean {
    return this.#catchUp !== undefined;
  }

  /** These have come live, or from the log that is the source. They have been handed over, or nobody wanted them. */
  saw(events: readonly AuditEvent[]): void {
    this.#catchUp?.heard(events);
    this.#moveTo(events);
  }

  /** Goes on from these at the next start. */
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
   * Everything that was read has been handed over.
   *
   * @param until all that had come by then was read
   */
  mark(until: Duration, log?: ResumePoint): void {
    this.#catchUp?.read(until);
    this.#write(log);
  }

  #write(log?: ResumePoint): void {
    if (!this.#moved || this.#newest === undefined || this.#catchUp !== undefined) return;
    this.#moved = false;
    try {
      this.#checkpoint.write({ ...this.#newest, ...(log === undefined ? {} : { log }) });
    } catch (error) {
      if (!this.#complained) this.#parts.log.warn({ reason: messageOf(error) }, 'Could not save the audit checkpoint.');
      this.#complained = true;
    }
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#catchingUp;
    this.#write();
    this.#checkpoint.close();
  }
}
