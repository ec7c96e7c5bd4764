import type { Clock } from '../../base/clock.ts';
import { type Duration, minutes } from '../../base/duration.ts';
import { type AgentError, toAgentError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { Service } from '../../base/service.ts';
import type { SourceStatus, StreamSink } from '../../contract/sources.ts';
import { AuditLogSource, type Beginning } from '../audit/audit-log-source.ts';
import { AuditSource, type Progress } from '../audit/audit-source.ts';
import type { AuditSink } from '../audit/event.ts';
import type { AuditRule } from '../audit/rules.ts';
import type { CommandLineSource } from '../processes/memory/command-lines.ts';
import { ConnectorProcesses } from '../processes/process-connector.ts';
import { ProcessPolling } from '../processes/process-polling.ts';
import type { ProcessTable } from '../processes/process-table.ts';
import type { HeldCount } from './held-count.ts';

/** How often the better sources are tried again while a lesser one is in use. */
const TRY_AGAIN = minutes(1);

/** What a source tells of: everything that audit does, or only that programs are started. */
export type Feed = 'audit' | 'starts';

interface Wanted {
  /** What audit is to report; only asked when `feeds` has it. */
  readonly rules: readonly AuditRule[];
  /** Empty when every collector that needs any is off. */
  readonly feeds: ReadonlySet<Feed>;
}

interface Parts {
  readonly wanted: () => Wanted;
  /** Takes what audit tells. */
  readonly audit: AuditSink;
  /** Takes starts of programs, where they come from elsewhere. */
  readonly sink: StreamSink;
  readonly clock: Clock;
  readonly log: Logger;
  /** Where the host's root directory is: `/`, or where a container has it mounted. */
  readonly hostRoot: string;
  /** What reads arguments of processes for sources without audit. */
  readonly commandLines: CommandLineSource;
  /** Told how many starts wait for that. */
  readonly heldStarts?: HeldCount | undefined;
  /** The processes that are known; see ConnectorProcesses. */
  readonly table?: ProcessTable;
  /** Where the last run ended in auditd's log. */
  readonly resume?: () => Beginning;
  /** Called when everything that audit had just now has been handed over. */
  readonly drained?: (progress: Progress) => Promise<void> | void;
  /** Called after that: all that happened up to then has been handed over, or counted as lost. */
  readonly settled?: (until: Duration) => void;
  /** Called when a source was lost: from then until the next one was open, nobody listened. */
  readonly interrupted?: () => void;
  /** Told when `status()` says something else than before. */
  readonly changed?: () => void;
}

/** One way to learn what happens. */
interface Source {
  /** Rejects when it can't be had now. */
  open(): Promise<void> | void;
  /** The rules have changed. */
  refreshRules?(): Promise<void>;
  /** @param willResume the next run reads on from where this one ends, where the source can */
  close(options?: { willResume: boolean }): Promise<void>;
  /** Says more than the rung's name does. */
  status?(): SourceStatus;
}

interface RungParts extends Parts {
  readonly rules: () => readonly AuditRule[];
  readonly onLost: (reason: AgentError) => void;
  readonly changed: () => void;
}

interface Rung {
  /** As the status names it (contract §2). */
  readonly name: string;
  readonly feeds: Feed;
  make(parts: RungParts): Source;
}

/** The best first. src/linux/README.md says what each can see, and costs. */
const LADDER: readonly Rung[] = [
  // As the kernel's audit daemon, or beside another one: audit-source.ts changes between the two by itself.
  { name: 'audit', feeds: 'audit', make: ({ audit, ...parts }) => new AuditSource({ ...parts, sink: audit }) },
  {
    name: 'auditLog',
    feeds: 'audit',
    make: ({ audit, resume, ...parts }) =>
      new AuditLogSource({ ...parts, sink: audit, ...(resume === undefined ? {} : { from: resume }) }),
  },
  { name: 'procConnector', feeds: 'starts', make: (parts) => new ConnectorProcesses(parts) },
  { name: 'procPolling', feeds: 'starts', make: (parts) => new ProcessPolling(parts) },
];

interface Standing {
  readonly rung: number;
  readonly source: Source;
}

/**
 * What happens on this system, from the best source that can be had: tries them in order, goes down when one is lost,
 * and tries to go up again every minute. With nothing wanted, nothing is open at all.
 */
export class SourceLadder implements Service {
  readonly name = 'sources of events';
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
    await this.#inTurn(() => this.#release({ willResume: true }));
    this.#stopping = undefined;
  }

  /** What the source in use tells of; `undefined` when there is none. */
  get feed(): Feed | undefined {
    return this.#standing === undefined ? undefined : this.#ladder[this.#standing.rung]?.feeds;
  }

  /** How things stand for who needs `feed`. Program starts come from either kind of source. */
  status(feed: Feed): SourceStatus {
    const reason = this.#obstacle === undefined ? undefined : `${this.#obstacle.message} ${this.#obstacle.remedy}`;
    const explained = reason === undefined ? {} : { reason };
    const rung = this.#standing === undefined ? undefined : this.#ladder[this.#standing.rung];
    if (rung === undefined || (feed === 'audit' && rung.feeds !== 'audit')) {
      return reason === undefined ? { state: 'off' } : { state: 'unavailable', ...explained };
    }
    const told = this.#standing?.source.status?.();
    if (told !== undefined) return told;
    return this.#standing?.rung === 0
      ? { state: 'on', source: rung.name }
      : { state: 'degraded', source: rung.name, ...explained };
  }

  /** To be called when `wanted()` has something else to say. Never rejects. */
  async refresh(): Promise<void> {
    await this.#inTurn(async () => {
      if (this.#stopping === undefined || this.#stopping.signal.aborted) return;
      const { feeds } = this.#parts.wanted();
      const { feed } = this;
      // A source that nobody needs any more goes; one that tells of program starts serves as long as those are wanted.
      if (feed !== undefined && !feeds.has(feed)) await this.#release();
      if (feeds.size === 0) await this.#release();
      else if (this.#standing === undefined) await this.#climb();
      else await this.#standing.source.refreshRules?.().catch((error: unknown) => this.#fall(toAgentError(error)));
    });
  }

  async #watch(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#parts.clock.sleep(TRY_AGAIN, signal);
      await this.#inTurn(async () => {
        if (signal.aborted || this.#parts.wanted().feeds.size === 0) return;
        if (this.#standing?.rung !== 0) await this.#climb();
      });
    }
  }

  /** Opens the best source that is better than the one in use. */
  async #climb(): Promise<void> {
    const limit = this.#standing?.rung ?? this.#ladder.length;
    const { feeds: wanted } = this.#parts.wanted();
    let best = true;
    for (const [rung, { name, feeds, make }] of this.#ladder.slice(0, limit).entries()) {
      if (!wanted.has(feeds)) continue;
      const source: Source = make({
        ...this.#parts,
        rules: () => this.#parts.wanted().rules,
        onLost: (reason) => this.#lost(source, reason),
        changed: () => this.#tell(),
      });
      try {
        await source.open();
      } catch (error) {
        if (best) this.#obstacle = toAgentError(error);
        best = false;
        this.#parts.log.debug({ source: name, err: error }, 'Could not open a source of events.');
        continue;
      }
      await this.#standing?.source.close();
      this.#standing = { rung, source };
      if (best) this.#obstacle = undefined;
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
    log.warn({ id, remedy, err: reason }, 'Lost the source of events.');
    await this.#release();
    await this.#climb();
    this.#parts.interrupted?.();
  }

  async #release(options = { willResume: false }): Promise<void> {
    await this.#standing?.source.close(options);
    this.#standing = undefined;
    this.#obstacle = undefined;
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#turn.then(work).then(() => this.#tell());
    this.#turn = done.catch((err: unknown) => this.#parts.log.error({ err }, 'Could not change the source of events.'));
    return this.#turn;
  }

  #tell(): void {
    const status = this.status(this.#parts.wanted().feeds.has('starts') ? 'starts' : 'audit');
    const text = JSON.stringify(status);
    if (text === this.#told) return;
    this.#told = text;
    const { log, changed } = this.#parts;
    if (status.state === 'degraded' || status.state === 'unavailable') log.warn(status, 'Events are incomplete.');
    else log.info(status, 'The source of events has changed.');
    changed?.();
  }
}
