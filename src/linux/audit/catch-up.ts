import type { Clock } from '../../base/clock.ts';
import { seconds } from '../../base/duration.ts';
import type { Logger } from '../../base/log.ts';
import type { AuditEvent } from '../../contract/sources.ts';
import { LogReader } from './audit-log-source.ts';
import type { Checkpoint, Place } from './checkpoint.ts';
import { LogTail } from './log-tail.ts';

/** How long auditd may need to write what the kernel told it and us at the same time. */
const WRITTEN_AFTER = seconds(3);
/** Events seen live meanwhile whose serials are remembered. With more, the oldest could be told twice. */
const MOST_REMEMBERED = 65_536;

interface Parts {
  /** auditd's log. */
  readonly path: string;
  readonly checkpoint: Checkpoint;
  /** Where the last run ended. */
  readonly place: Place;
  /** When the kernel was started, in milliseconds since the epoch. */
  readonly bootedAtMs: number;
  readonly deliver: (events: readonly AuditEvent[]) => void;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * What auditd's log holds from the time nobody listened: from where the last run ended to where this one began, once.
 *
 * The log is read a moment after listening began, and what was heard since then is left out of it by its serial: so
 * nothing is missed between the two, and nothing is told twice.
 */
export class CatchUp {
  readonly #parts: Parts;
  readonly #heard = new Set<number>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** These events have come live. */
  heard(events: readonly AuditEvent[]): void {
    for (const { serial } of events) if (this.#heard.size < MOST_REMEMBERED) this.#heard.add(serial);
  }

  /** @returns whether it got to the end; never rejects */
  async run(signal: AbortSignal): Promise<boolean> {
    const { path, checkpoint, place, bootedAtMs, deliver, clock, log } = this.#parts;
    await clock.sleep(WRITTEN_AFTER, signal);
    if (signal.aborted) return false;
    const tail = new LogTail(path);
    let caughtUp = 0;
    try {
      const isThere = tail.open({ position: place.log, since: place.timeMs });
      const isMissed = (event: AuditEvent) =>
        !this.#heard.has(event.serial) && (isThere || checkpoint.isAfter(place, event, bootedAtMs));
      const reader = new LogReader(
        tail,
        (events) => {
          const missed = events.filter(isMissed);
          caughtUp += missed.length;
          if (missed.length > 0) deliver(missed);
        },
        clock,
        { told: isThere ? place.log?.told : undefined },
      );
      await reader.read();
      reader.close();
      reader.flush();
      if (caughtUp > 0) log.info({ events: caughtUp }, "Read what auditd's log holds from before the agent listened.");
    } catch (err) {
      log.debug({ err }, "There is no log of auditd's to catch up from.");
    } finally {
      tail.close();
      this.#heard.clear();
    }
    return true;
  }
}
