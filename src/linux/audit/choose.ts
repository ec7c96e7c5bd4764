import type { Clock } from '../../base/clock.ts';
import { minutes } from '../../base/duration.ts';
import { type AgentError, toAgentError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { Service } from '../../base/service.ts';
import type { AuditRule, SourceStatus, StreamSink } from '../../contract/sources.ts';
import { ProcessPolling } from '../process-polling.ts';
import { AuditSource } from './audit-source.ts';

/** How often the better sources are tried again while a lesser one is in use. */
const TRY_AGAIN = minutes(1);

interface Parts {
  /** What is to be reported; empty when every collector that needs any is off. */
  readonly rules: () => readonly AuditRule[];
  readonly sink: StreamSink;
  readonly clock: Clock;
  readonly log: Logger;
  /** Where the host's root directory is: `/`, or where a container has it mounted. */
  readonly hostRoot: string;
  /** Told when `status()` says something else than before. */
  readonly changed?: () => void;
}

/** One way to learn of processes. */
interface Source {
  /** Rejects when it can't be had now. */
  open(): Promise<void> | void;
  /** The rules have changed. */
  refresh?(): Promise<void>;
  close(): Promise<void>;
}

interface Rung {
  /** As the status names it (contract §2). */
  readonly name: string;
  make(parts: Parts & { readonly onLost: (reason: AgentError) => void }): Source;
}

/** The best first. */
const LADDER: readonly Rung[] = [
  {
    name: 'auditUnicast',
    make(parts) {
      const source = new AuditSource(parts);
      return { open: () => source.open(), refresh: () => source.refreshRules(), close: () => source.close() };
    },
  },
  { name: 'procPolling', make: (parts) => new ProcessPolling(parts) },
];

interface Standing {
  readonly rung: number;
  readonly source: Source;
}

/**
 * What happens to processes, from the best source that can be had: tries them in order, goes down when one is lost, and
 * tries to go up again every minute. With no rules, nothing is open at all.
 */
export class ProcessEvents implements Service {
  readonly name = 'process events';
  readonly #parts: Parts;
  readonly #ladder: readonly Rung[];
  #standing: Standing | undefined;
  /** Why the best source isn't in use. */
  #obstacle: AgentError | undefined;
  #told = '';
  #stopping: AbortController | undefined;
  #watching: Promise<void> = Promise.resolve();
  /** Sources are changed by one at a time. */
  #turn: Promise<void> = Promise.resolve();

  /** @param ladder for tests */
  constructor(parts: Parts, ladder: readonly Rung[] = LADDER) {
    this.#parts = parts;
    this.#ladder = ladder;
  }

  async start(): Promise<void> {
    if (this.#stopping !== undefined) return;
    this.#stopping = new AbortController();
    await this.refresh();
    this.#watching = this.#watch(this.#stopping.signal);
  }

  async stop(): Promise<void> {
    this.#stopping?.abort();
    await this.#watching;
    await this.#inTurn(() => this.#release());
    this.#stopping = undefined;
  }

  status(): SourceStatus {
    const source = this.#standing === undefined ? undefined : this.#ladder[this.#standing.rung]?.name;
    const reason = this.#obstacle === undefined ? undefined : `${this.#obstacle.message} ${this.#obstacle.remedy}`;
    const explained = reason === undefined ? {} : { reason };
    if (source !== undefined) {
      return this.#standing?.rung === 0 ? { state: 'on', source } : { state: 'degraded', source, ...explained };
    }
    return reason === undefined ? { state: 'off' } : { state: 'unavailable', ...explained };
  }

  /** To be called when `rules()` has something else to say. Never rejects. */
  async refresh(): Promise<void> {
    await this.#inTurn(async () => {
      if (this.#stopping === undefined || this.#stopping.signal.aborted) return;
      if (this.#parts.rules().length === 0) await this.#release();
      else if (this.#standing === undefined) await this.#climb();
      else await this.#standing.source.refresh?.().catch((error: unknown) => this.#fall(toAgentError(error)));
    });
  }

  async #watch(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#parts.clock.sleep(TRY_AGAIN, signal);
      await this.#inTurn(async () => {
        if (signal.aborted || this.#parts.rules().length === 0) return;
        if (this.#standing?.rung !== 0) await this.#climb();
      });
    }
  }

  /** Opens the best source that is better than the one in use. */
  async #climb(): Promise<void> {
    const limit = this.#standing?.rung ?? this.#ladder.length;
    for (const [rung, { name, make }] of this.#ladder.slice(0, limit).entries()) {
      const source = make({ ...this.#parts, onLost: (reason) => this.#lost(source, reason) });
      try {
        await source.open();
      } catch (error) {
        if (rung === 0) this.#obstacle = toAgentError(error);
        this.#parts.log.debug({ source: name, err: error }, 'Could not open a source of process events.');
        continue;
      }
      await this.#standing?.source.close();
      this.#standing = { rung, source };
      if (rung === 0) this.#obstacle = undefined;
      return;
    }
  }

  /** A source says that it can't go on. It may be closing at this moment, so nothing is done from within its call. */
  #lost(source: Source, reason: AgentError): void {
    void this.#inTurn(async () => {
      if (this.#standing?.source === source) await this.#fall(reason);
    });
  }

  async #fall(reason: AgentError): Promise<void> {
    const { log } = this.#parts;
    const { id, remedy } = reason;
    log.warn({ id, remedy, err: reason }, 'Lost the source of process events.');
    await this.#release();
    await this.#climb();
  }

  async #release(): Promise<void> {
    await this.#standing?.source.close();
    this.#standing = undefined;
    this.#obstacle = undefined;
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#turn.then(work).then(() => this.#tell());
    this.#turn = done.catch((err: unknown) => this.#parts.log.error({ err }, 'Could not change the source of events.'));
    return this.#turn;
  }

  #tell(): void {
    const status = this.status();
    const text = JSON.stringify(status);
    if (text === this.#told) return;
    this.#told = text;
    const { log, changed } = this.#parts;
    if (status.state === 'degraded' || status.state === 'unavailable') {
      log.warn(status, 'Process events are incomplete.');
    } else log.info(status, 'The source of process events has changed.');
    changed?.();
  }
}
