import type { Clock } from '../../../core/base/clock.ts';
import type { Duration } from '../../../core/base/duration.ts';
import { type AgentError, toAgentError } from '../../../core/base/errors.ts';
import type { Logger } from '../../../core/base/log.ts';
import type { SourceStatus } from '../../../core/contract/sources.ts';
import type { AuditFlood, StreamSink } from '../../../core/contract/streams.ts';
import { AuditLogSource, type Beginning } from '../audit/audit-log-source.ts';
import { AuditSource, type Progress } from '../audit/audit-source.ts';
import type { AuditSink } from '../audit/event.ts';
import type { AuditRule } from '../audit/rules.ts';
import type { CommandLineSource } from '../processes/memory/command-lines.ts';
import { ConnectorProcesses } from '../processes/process-connector.ts';
import { ProcessPolling } from '../processes/process-polling.ts';
import type { ProcessTable } from '../processes/process-table.ts';
import type { HeldCount } from '../source-state/held-count.ts';
import { ExcludedStarts } from './excluded-starts.ts';
import type { SourceSupervisor } from './supervisor.ts';

/** What a source reports: all events of the kernel's audit, or starts of programs only. */
export type Feed = 'audit' | 'starts';

interface Wanted {
  /** The audit rules; used only while `feeds` has `audit`. */
  readonly rules: readonly AuditRule[];
  /** Empty when no stream is wanted that needs one. */
  readonly feeds: ReadonlySet<Feed>;
}

export interface LadderParts {
  readonly wanted: () => Wanted;
  /** Whether it must leave audit to another agent that runs. */
  readonly yieldsToAgent?: boolean;
  /** Receives audit events from the kernel. */
  readonly audit: AuditSink;
  /** Receives audit events from auditd's log. */
  readonly auditLog: AuditSink;
  /** Receives starts that do not come from audit. */
  readonly sink: StreamSink;
  readonly clock: Clock;
  readonly log: Logger;
  /** Where the host's root directory is: `/`, or where a container has it mounted. */
  readonly hostRoot: string;
  /** Reads arguments of processes, for sources other than audit. */
  readonly commandLines: CommandLineSource;
  /** Receives the number of starts that wait for their arguments. */
  readonly heldStarts?: HeldCount | undefined;
  /** The known processes; see ConnectorProcesses. */
  readonly table?: ProcessTable;
  /** See AuditSource. */
  readonly flooded?: ((flood: AuditFlood) => void) | undefined;
  readonly excluded?: (count: number) => void;
  readonly backlogWait?: boolean | undefined;
  /** The position in auditd's log where the last run ended. */
  readonly resume?: () => Beginning;
  /** Called when everything that the source had was delivered. */
  readonly drained?: (progress: Progress) => Promise<void> | void;
  /** Called after that, with a time: everything up to it was delivered or counted as lost. */
  readonly settled?: (until: Duration) => void;
  /** Called when a source failed and the next one is open: nothing was read in between. */
  readonly interrupted?: () => void;
  /** Called when a source was opened, before its records are read if they can wait in the kernel. */
  readonly opened?: () => void;
  /** Called when the rules were read, with whether other programs' rules hide all or some processes that start now. */
  readonly foundTaskRule?: (isThere: boolean) => void;
  /** Runs changes of the sources one at a time, and announces each new status. */
  readonly supervisor: Pick<SourceSupervisor, 'run' | 'announce'>;
}

/** One way to get a feed. */
interface Source {
  /** Rejects when the source isn't available now. */
  open(): Promise<void> | void;
  /**
   * The two halves of `open`, if records can wait in the kernel. `connect` rejects like `open`; a second call sets the present
   * rules. `begin` begins to read.
   */
  connect?(): Promise<void>;
  begin?(): void;
  /** Call this when the rules have changed. */
  refreshRules?(): Promise<void>;
  /**
   * @param willResume the next run continues at this position, if the source can
   * @param keepsRules another source has set the same audit rules
   */
  close(options?: { willResume?: boolean; keepsRules?: boolean }): Promise<void>;
  /** Its status. Default: the rung's name, `on` for the best rung, otherwise `degraded`. */
  status?(): SourceStatus;
}

interface RungParts extends LadderParts {
  readonly rules: () => readonly AuditRule[];
  readonly onLost: (reason: AgentError) => void;
  readonly changed: () => void;
}

export interface Rung {
  /** Its name in the status (contract §2). */
  readonly name: string;
  readonly feeds: Feed;
  make(parts: RungParts): Source;
}

/** The best first. src/agent/linux/README.md compares their coverage and cost. */
const LADDER: readonly Rung[] = [
  // As the kernel's audit daemon, or alongside another one: audit-role.ts switches between the two.
  {
    name: 'audit',
    feeds: 'audit',
    make: ({ audit, ...parts }) =>
      new AuditSource({ ...parts, sink: audit, countStarts: (clock) => new ExcludedStarts(clock) }),
  },
  {
    name: 'auditLog',
    feeds: 'audit',
    make: ({ auditLog, resume, ...parts }) =>
      new AuditLogSource({ ...parts, sink: auditLog, ...(resume === undefined ? {} : { from: resume }) }),
  },
  { name: 'procConnector', feeds: 'starts', make: (parts) => new ConnectorProcesses(parts) },
  { name: 'procPolling', feeds: 'starts', make: (parts) => new ProcessPolling(parts) },
];

interface OpenSource {
  readonly rung: number;
  readonly source: Source;
}

/**
 * Opens the best available source of the feeds that are wanted: tries the sources in order, and opens the next one when one is
 * lost. While no feed is wanted, no source is open. Change one thing at a time: `refresh`, `improve` and `close` are called
 * within `SourceSupervisor.run`.
 */
export class SourceLadder {
  readonly #parts: LadderParts;
  readonly #ladder: readonly Rung[];
  #current: OpenSource | undefined;
  /** The best source, connected before the start. */
  #early: Source | undefined;
  /** Why the best source isn't in use. */
  #bestSourceError: AgentError | undefined;

  /** @param ladder replaced in tests */
  constructor(parts: LadderParts, ladder: readonly Rung[] = LADDER) {
    this.#parts = parts;
    this.#ladder = ladder;
  }

  /**
   * Connects the best source if it is wanted and its records can wait: from now on, the kernel keeps them until `refresh`.
   * Where that fails, `refresh` opens the best available source. Never rejects.
   */
  async connect(): Promise<void> {
    const [best] = this.#ladder;
    if (best === undefined || !this.#parts.wanted().feeds.has(best.feeds)) return;
    const source = this.#make(best);
    try {
      await source.connect?.();
      if (source.connect !== undefined) this.#early = source;
    } catch (err) {
      this.#parts.log.debug({ source: best.name, err }, 'Could not connect a source of events before the start.');
    }
  }

  /** Closes what `connect` has opened, unless `refresh` has taken it over. Safe to call twice; never rejects. */
  async disconnect(): Promise<void> {
    await this.#early?.close();
    this.#early = undefined;
  }

  /** The open feed, if any. */
  get feed(): Feed | undefined {
    return this.#current === undefined ? undefined : this.#ladder[this.#current.rung]?.feeds;
  }

  /** Status of `feed`. Audit reports starts, too. */
  status(feed: Feed): SourceStatus {
    const reason =
      this.#bestSourceError === undefined
        ? undefined
        : `${this.#bestSourceError.message} ${this.#bestSourceError.remedy}`;
    const explained = reason === undefined ? {} : { reason };
    const rung = this.#current === undefined ? undefined : this.#ladder[this.#current.rung];
    if (rung === undefined || (feed === 'audit' && rung.feeds !== 'audit')) {
      return reason === undefined ? { state: 'off' } : { state: 'unavailable', ...explained };
    }
    const own = this.#current?.source.status?.();
    if (own !== undefined) return own;
    return this.#current?.rung === 0
      ? { state: 'on', source: rung.name }
      : { state: 'degraded', source: rung.name, ...explained };
  }

  /** The status of the feed that serves most requested streams. */
  wantedStatus(): SourceStatus {
    return this.status(this.#parts.wanted().feeds.has('starts') ? 'starts' : 'audit');
  }

  /** Opens and closes sources as `wanted()` demands. */
  async refresh(): Promise<void> {
    const { feeds } = this.#parts.wanted();
    const { feed } = this;
    // A source whose feed is no longer wanted is closed. A source of starts stays open as long as starts are wanted.
    if (feed !== undefined && !feeds.has(feed)) await this.#release();
    if (feeds.size === 0) await this.#release();
    else if (this.#current === undefined) await this.#openBest();
    else await this.#current.source.refreshRules?.().catch((error: unknown) => this.#fallBack(toAgentError(error)));
    this.#parts.supervisor.announce();
  }

  /** Opens a better source, if one has become available. */
  async improve(): Promise<void> {
    if (this.#current?.rung !== 0 && this.#parts.wanted().feeds.size > 0) await this.#openBest();
    this.#parts.supervisor.announce();
  }

  /** Closes the open source; the next run continues where it ended, if the source can. Safe to call twice. */
  async close(): Promise<void> {
    await this.#release({ willResume: true });
    this.#parts.supervisor.announce();
  }

  /** Opens the best source that is better than the one in use. */
  async #openBest(): Promise<void> {
    const limit = this.#current?.rung ?? this.#ladder.length;
    const { feeds: wanted } = this.#parts.wanted();
    let best = true;
    for (const [rung, made] of this.#ladder.slice(0, limit).entries()) {
      const { name, feeds } = made;
      if (!wanted.has(feeds)) continue;
      const source = rung === 0 && this.#early !== undefined ? this.#early : this.#make(made);
      try {
        await (source.connect?.() ?? source.open());
      } catch (error) {
        if (source === this.#early) await this.disconnect();
        if (best) this.#bestSourceError = toAgentError(error);
        best = false;
        this.#parts.log.debug({ source: name, err: error }, 'Could not open a source of events.');
        continue;
      }
      if (source === this.#early) this.#early = undefined;
      await this.disconnect();
      await this.#current?.source.close({ keepsRules: feeds === 'audit' });
      this.#current = { rung, source };
      if (best) this.#bestSourceError = undefined;
      this.#parts.opened?.();
      source.begin?.();
      return;
    }
  }

  #make({ make }: Rung): Source {
    const source: Source = make({
      ...this.#parts,
      rules: () => this.#parts.wanted().rules,
      onLost: (reason) => this.#lost(source, reason),
      changed: () => this.#parts.supervisor.announce(),
    });
    return source;
  }

  /** The source failed. It may be closing at this moment, so the change is made later, not within its call. */
  #lost(source: Source, reason: AgentError): void {
    const { supervisor } = this.#parts;
    void supervisor.run(async () => {
      if (this.#current?.source === source) await this.#fallBack(reason);
      supervisor.announce();
    });
  }

  async #fallBack(reason: AgentError): Promise<void> {
    const { log } = this.#parts;
    const { id, remedy } = reason;
    log.warn({ id, remedy, err: reason }, 'Lost the source of events.');
    await this.#release();
    await this.#openBest();
    this.#parts.interrupted?.();
  }

  async #release(options = { willResume: false }): Promise<void> {
    await this.disconnect();
    await this.#current?.source.close(options);
    this.#current = undefined;
    this.#bestSourceError = undefined;
  }
}
