import type { Clock } from '../../../core/base/clock.ts';
import { type AuditEvent, isStart } from '../audit/event.ts';
import type { StartCounter } from '../audit/flood-watch.ts';
import { type FilterFor, ProcessConnector } from '../processes/connector/connector.ts';
import { EXEC, execsOnly, type ProcessEvent } from '../processes/connector/messages.ts';

/** Datagrams read at a time, about 10 ms; more than a machine makes between two reads. */
const MAX_PER_READ = 8_192;
/** Seconds that wait until audit has been read up to them; more than a slow agent lags behind. */
const MAX_SECONDS = 600;

/** Starts within one second. */
interface Starts {
  executed: number;
  audited: number;
}

/**
 * Counts the starts that audit does not report while a user's starts are excluded: the process connector reports every start,
 * but not whose it is. What it reports beyond the starts that arrive from audit was excluded. Compared second by second of the
 * kernel's time, when audit has been read up to it. The number can be too high by the starts that audit lost meanwhile, which
 * are counted as lost as well; never too low.
 */
export class ExcludedStarts implements StartCounter {
  readonly #clock: Pick<Clock, 'now' | 'fromKernel'>;
  readonly #connector: ProcessConnector;
  readonly #since: Date;
  readonly #seconds = new Map<number, Starts>();
  #executed = 0;
  /** Starts that audit reported, up to what was compared. */
  #known = 0;
  #counted = 0;
  #sinceLook = 0;

  /** @throws AgentError SOCKET_UNAVAILABLE */
  constructor(
    clock: Pick<Clock, 'now' | 'fromKernel'>,
    connect: (filter: FilterFor) => ProcessConnector = ProcessConnector.open,
  ) {
    this.#clock = clock;
    this.#connector = connect(execsOnly);
    this.#since = clock.now();
  }

  /** Takes the events of audit. */
  see(events: readonly AuditEvent[]): void {
    for (const event of events) {
      if (!isStart(event)) continue;
      const starts = this.#at(event.time);
      if (starts !== undefined) starts.audited += 1;
    }
  }

  /** Reads the connector. @throws AgentError SOCKET_UNAVAILABLE */
  read(): void {
    const take = (event: ProcessEvent) => {
      if (event.what !== EXEC) return;
      this.#sinceLook += 1;
      const starts = this.#at(this.#clock.fromKernel(event.nanoseconds));
      if (starts !== undefined) starts.executed += 1;
    };
    for (let left = MAX_PER_READ; left > 0 && this.#connector.read(take); left -= 1);
    const dropped = this.#connector.takeDropped();
    this.#sinceLook += dropped;
    this.#executed += dropped;
  }

  /** Number of starts that the connector reported since the last call. */
  takeExecuted(): number {
    const executed = this.#sinceLook;
    this.#sinceLook = 0;
    return executed;
  }

  /** Newly known excluded starts. @param until everything that audit reports up to it has arrived */
  take(until: Date): number {
    const end = secondOf(until);
    for (const [second, { executed, audited }] of this.#seconds) {
      if (second >= end && this.#seconds.size <= MAX_SECONDS) continue;
      this.#seconds.delete(second);
      this.#executed += executed;
      this.#known += audited;
    }
    const excluded = Math.max(0, this.#executed - this.#known - this.#counted);
    this.#counted += excluded;
    return excluded;
  }

  close(): void {
    this.#connector.close();
  }

  #at(time: Date): Starts | undefined {
    if (time < this.#since) return undefined;
    const second = secondOf(time);
    let starts = this.#seconds.get(second);
    if (starts === undefined) {
      starts = { executed: 0, audited: 0 };
      this.#seconds.set(second, starts);
    }
    return starts;
  }
}

const secondOf = (time: Date): number => Math.floor(time.getTime() / 1_000);
