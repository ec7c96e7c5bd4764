import type { Clock } from '../../../core/base/clock.ts';
import { type Duration, milliseconds, seconds } from '../../../core/base/duration.ts';
import type { Logger } from '../../../core/base/log.ts';
import { LogReader } from './audit-log-source.ts';
import type { AuditPosition, Checkpoint } from './checkpoint.ts';
import type { AuditEvent } from './event.ts';
import { LogTail } from './log-tail.ts';
import { UNSETTLED_SERIALS } from './loss.ts';

/** How long auditd may need to write a record that the kernel delivered to both. */
const WRITTEN_AFTER = seconds(1);
/** How long a live event may wait for its records; see PATIENCE and GRACE of reassembler.ts. */
const INCOMPLETE = milliseconds(2_200);
/** Interval of checks whether all live records are read, and whether auditd has written more. */
const LOOK_AGAIN = milliseconds(500);
/** After this many checks without a change of the log or a live event in it, auditd is taken to have stopped writing. */
const MAX_IDLE_LOOKS = 3;
const MAX_LOOKS = 20;
/** How long live reading may be stalled. */
const STANDSTILL = seconds(60);
/** Live events remembered. Later ones are recognised by their serial, unless the wall clock was set back. */
const MAX_REMEMBERED = 65_536;

interface Parts {
  /** auditd's log. */
  readonly path: string;
  readonly checkpoint: Checkpoint;
  /** Where the last run ended. */
  readonly position: AuditPosition;
  /** Boot time, in milliseconds since the epoch. */
  readonly bootedAtMs: number;
  readonly deliver: (events: readonly AuditEvent[]) => void;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Reads from auditd's log, once, the events between the end of the last run and the beginning of this one.
 *
 * The kernel gives each record to listeners before it gives it to auditd. So whatever the log contains at some moment has
 * reached the agent's socket by then, if it came live. The log is read up to such a moment, and only when the socket has
 * been read beyond it; live events are skipped, by serial and time. However slow the agent or auditd is, no event is
 * missed or reported twice.
 *
 * Events after the first live one are never taken from the log: those that are missing count as lost. Close to that
 * event, the order alone does not show which events are older; see UNSETTLED_SERIALS.
 */
export class CatchUp {
  readonly #parts: Parts;
  /** Time of the record, by serial: serials begin again at each boot. */
  readonly #seenLive = new Map<number, number>();
  #firstLive: number | undefined;
  /** Everything that had come live by then was read and passed on. */
  #readUntil: Duration;
  #reachedLive = false;
  #caughtUp = 0;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#readUntil = parts.clock.monotonic();
  }

  /** These events came live, whether or not a stream wanted them. */
  sawLive(events: readonly AuditEvent[]): void {
    for (const { serial, time } of events) {
      this.#firstLive ??= serial;
      if (this.#seenLive.size < MAX_REMEMBERED) this.#seenLive.set(serial, time.getTime());
    }
  }

  /** Everything that had come live by then was passed to `sawLive`, except events that wait for records. */
  read(until: Duration): void {
    this.#readUntil = until;
  }

  /**
   * Never rejects.
   *
   * @param signal ends the waiting: the rest is read at once. Abort it when all live events have been read and no more will
   *   come.
   */
  async run(signal: AbortSignal): Promise<void> {
    const { path, position, clock, log } = this.#parts;
    await clock.sleep(WRITTEN_AFTER, signal);
    const tail = new LogTail(path);
    try {
      const isThere = tail.open({ position: position.log, since: position.timeMs });
      const reader = new LogReader(tail, (events) => this.#deliverMissed(events, isThere), clock, {
        told: isThere ? position.log?.told : undefined,
      });
      await this.#read(tail, reader, signal);
      reader.close();
      reader.flush();
      if (this.#caughtUp > 0) {
        log.info({ events: this.#caughtUp }, "Read earlier events from auditd's log.");
      }
    } catch (err) {
      log.debug({ err }, 'No auditd log to catch up from.');
    } finally {
      tail.close();
      this.#seenLive.clear();
    }
  }

  /** Reads up to the live events, or to the end of the log. */
  async #read(tail: LogTail, reader: LogReader, signal: AbortSignal): Promise<void> {
    let end = tail.end;
    for (let looks = 1, idle = 0; looks <= MAX_LOOKS; looks += 1) {
      await this.#allSeenUntil(this.#parts.clock.monotonic(), signal);
      await reader.read(undefined, end);
      const before = end;
      end = tail.end;
      idle = end.inode === before.inode && end.offset === before.offset ? idle + 1 : 0;
      const isAtEnd = idle >= (this.#firstLive === undefined ? 1 : MAX_IDLE_LOOKS);
      if (this.#reachedLive || isAtEnd || signal.aborted) return;
    }
  }

  /** Waits until everything that had come live by then was passed to `sawLive`. */
  async #allSeenUntil(time: Duration, signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts;
    const until = time + INCOMPLETE;
    let moved = clock.monotonic();
    for (let before = this.#readUntil; this.#readUntil < until && !signal.aborted; ) {
      await clock.sleep(LOOK_AGAIN, signal);
      if (this.#readUntil !== before) moved = clock.monotonic();
      else if (clock.monotonic() - moved > STANDSTILL) return;
      before = this.#readUntil;
    }
  }

  #deliverMissed(events: readonly AuditEvent[], isThere: boolean): void {
    const { checkpoint, position, bootedAtMs, deliver } = this.#parts;
    const missed = events.filter((event) => {
      const timeMs = event.time.getTime();
      if (timeMs >= bootedAtMs && this.#isSinceLive(event.serial)) return false;
      return (
        this.#seenLive.get(event.serial) !== timeMs && (isThere || checkpoint.isAfter(position, event, bootedAtMs))
      );
    });
    this.#caughtUp += missed.length;
    if (missed.length > 0) deliver(missed);
  }

  /** Whether an event of this boot is so late that it must have come live, or was lost. */
  #isSinceLive(serial: number): boolean {
    if (this.#firstLive === undefined) return false;
    const ahead = (serial - this.#firstLive) | 0;
    if (ahead >= 0) this.#reachedLive = true;
    return ahead > UNSETTLED_SERIALS;
  }
}
