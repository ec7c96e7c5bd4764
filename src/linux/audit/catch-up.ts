import type { Clock } from '../../base/clock.ts';
import { type Duration, milliseconds, seconds } from '../../base/duration.ts';
import type { Logger } from '../../base/log.ts';
import { LogReader } from './audit-log-source.ts';
import type { AuditPosition, Checkpoint } from './checkpoint.ts';
import type { AuditEvent } from './event.ts';
import { LogTail } from './log-tail.ts';
import { UNSETTLED_SERIALS } from './loss.ts';

/** How long auditd may need to write what the kernel told it and us at the same time. */
const WRITTEN_AFTER = seconds(1);
/** How long an event that came live may wait for its records; see PATIENCE of reassembler.ts. */
const INCOMPLETE = milliseconds(2_200);
/** Between two looks whether all that came live has been read, and whether auditd has written more. */
const LOOK_AGAIN = milliseconds(500);
/** So often the log may be the same without anything of what came live, before auditd is taken to write no more. */
const MOST_IDLE_LOOKS = 3;
const MOST_LOOKS = 20;
/** How long live reading may stand still. */
const STANDSTILL = seconds(60);
/** Events seen live that are remembered. A later one is left out by its serial, unless the wall clock was set back. */
const MOST_REMEMBERED = 65_536;

interface Parts {
  /** auditd's log. */
  readonly path: string;
  readonly checkpoint: Checkpoint;
  /** Where the last run ended. */
  readonly position: AuditPosition;
  /** When the kernel was started, in milliseconds since the epoch. */
  readonly bootedAtMs: number;
  readonly deliver: (events: readonly AuditEvent[]) => void;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * What auditd's log holds from the time nobody listened: from where the last run ended to where this one began, once.
 *
 * The kernel gives each record to its listeners before it gives it to auditd. So of what the log holds at some moment, all
 * that came live is in the agent's socket by then. The log is read up to such a moment, and only when the socket has been
 * read beyond it; what was heard live is left out, by serial and time. However slow the agent or auditd is, nothing is
 * missed between the two, and nothing is told twice.
 *
 * The log tells nothing of the time since the first event that was heard live: what was lost after it is counted as lost,
 * and isn't looked for here. Only close to that event, order doesn't tell what came before; see UNSETTLED_SERIALS.
 */
export class CatchUp {
  readonly #parts: Parts;
  /** By serial, when it was recorded: serials begin anew at each boot. */
  readonly #heard = new Map<number, number>();
  #firstHeard: number | undefined;
  /** Everything that had come live by then has been read and handed over. */
  #readUntil: Duration;
  #reachedLive = false;
  #caughtUp = 0;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#readUntil = parts.clock.monotonic();
  }

  /** These events have come live, whether anybody wanted them or not. */
  heard(events: readonly AuditEvent[]): void {
    for (const { serial, time } of events) {
      this.#firstHeard ??= serial;
      if (this.#heard.size < MOST_REMEMBERED) this.#heard.set(serial, time.getTime());
    }
  }

  /** Everything that had come live by then has been given to `heard`, but for events that wait for records. */
  read(until: Duration): void {
    this.#readUntil = until;
  }

  /**
   * Never rejects.
   *
   * @param signal ends the waiting: what is there is read at once. To be aborted when all that came live has been heard,
   *   and nothing more will.
   */
  async run(signal: AbortSignal): Promise<void> {
    const { path, position, clock, log } = this.#parts;
    await clock.sleep(WRITTEN_AFTER, signal);
    const tail = new LogTail(path);
    try {
      const isThere = tail.open({ position: position.log, since: position.timeMs });
      const reader = new LogReader(tail, (events) => this.#tell(events, isThere), clock, {
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
      this.#heard.clear();
    }
  }

  /** Reads up to what came live, or as far as the log goes. */
  async #read(tail: LogTail, reader: LogReader, signal: AbortSignal): Promise<void> {
    let end = tail.end;
    for (let looks = 1, idle = 0; looks <= MOST_LOOKS; looks += 1) {
      await this.#heardAllUntil(this.#parts.clock.monotonic(), signal);
      await reader.read(undefined, end);
      const before = end;
      end = tail.end;
      idle = end.inode === before.inode && end.offset === before.offset ? idle + 1 : 0;
      const isAtEnd = idle >= (this.#firstHeard === undefined ? 1 : MOST_IDLE_LOOKS);
      if (this.#reachedLive || isAtEnd || signal.aborted) return;
    }
  }

  /** Waits until everything that had come live by then is among `heard`. */
  async #heardAllUntil(time: Duration, signal: AbortSignal): Promise<void> {
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

  #tell(events: readonly AuditEvent[], isThere: boolean): void {
    const { checkpoint, position, bootedAtMs, deliver } = this.#parts;
    const missed = events.filter((event) => {
      const timeMs = event.time.getTime();
      if (timeMs >= bootedAtMs && this.#isSinceLive(event.serial)) return false;
      return this.#heard.get(event.serial) !== timeMs && (isThere || checkpoint.isAfter(position, event, bootedAtMs));
    });
    this.#caughtUp += missed.length;
    if (missed.length > 0) deliver(missed);
  }

  /** Whether an event of this boot came so late that it can only have come live, or was lost. */
  #isSinceLive(serial: number): boolean {
    if (this.#firstHeard === undefined) return false;
    const ahead = (serial - this.#firstHeard) | 0;
    if (ahead >= 0) this.#reachedLive = true;
    return ahead > UNSETTLED_SERIALS;
  }
}
