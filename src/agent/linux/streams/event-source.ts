import type { Clock } from '../../../core/base/clock.ts';
import type { Logger } from '../../../core/base/log.ts';
import type { SourceStatus } from '../../../core/contract/sources.ts';
import type { StreamName, StreamSink } from '../../../core/contract/streams.ts';
import type { BackgroundWriter } from '../../state/background-writer.ts';
import type { AuditRule } from '../audit/rules.ts';
import type { CommandLines } from '../processes/memory/command-lines.ts';
import type { ProcessTable } from '../processes/process-table.ts';
import type { HeldCount } from '../source-state/held-count.ts';
import type { FeedSubscriber } from './feed-delivery.ts';
import type { Feeds } from './feeds.ts';
import type { ReadTimes } from './read-times.ts';
import type { Feed } from './source-ladder.ts';

/** Declares a source of events, which reports one stream or several. Each has a file of its own, and a row in index.ts. */
export interface SourceDeclaration {
  /** The streams that it reports. Each stream has one source. */
  readonly streams: readonly StreamName[];
  /** The feeds that it can read from. The best available one is open while one of the streams is wanted. */
  readonly feeds: readonly Feed[];
  /** The audit rules that it needs while it is wanted. */
  readonly auditRules: readonly AuditRule[];
  /** Creates the source without opening anything. */
  make(host: SourceHost): EventSource;
}

/** A source of events. It is created once, and opened and closed on demand. */
export interface EventSource extends FeedSubscriber {
  /** Called when the wanted streams change, before the feeds are opened: opens what must listen before them. Never rejects. */
  prepare?(isWanted: boolean): Promise<void> | void;
  /**
   * Called after the feeds were opened or closed, and every minute: opens, closes or retries what it needs besides them.
   * Never rejects.
   *
   * @param feed the open feed
   */
  follow?(isWanted: boolean, feed: Feed | undefined): Promise<void>;
  /** Its status while it is wanted. */
  status(): SourceStatus;
  /** Delivers the records that it holds. Called when the agent stops, after the feeds have closed. Never rejects. */
  close?(): Promise<void>;
}

/** What a source is created with. */
export interface SourceHost {
  readonly sink: StreamSink;
  readonly clock: Clock;
  readonly log: Logger;
  /** Where the host's root directory is: `/`, or where a container has it mounted. */
  readonly hostRoot: string;
  /** Whether connections of this machine to itself are reported. */
  readonly loopback: boolean;
  /** Folder for state that survives restarts. If omitted, no state is kept. */
  readonly stateDirectory: string | undefined;
  /** Writes the state in the background, after the events. If omitted, it is written immediately. */
  readonly writer: BackgroundWriter | undefined;
  /** The running processes, as the feeds report them. */
  readonly table: ProcessTable;
  /** Reads arguments of running processes. */
  readonly commandLines: CommandLines;
  /** The container of a process that runs or has just exited. */
  readonly containerOf: (pid: number) => string | undefined;
  readonly feeds: Pick<Feeds, 'current' | 'status' | 'statusOfCalls'>;
  /** Up to which times the feeds were read. */
  readonly times: ReadTimes;
  /**
   * Records on disk how many records of a stream wait in memory, so that the next run counts them if this one is killed.
   * Closed after the source.
   *
   * @param max upper bound of that number
   */
  readonly held: (stream: StreamName, max: number) => HeldCount | undefined;
}
