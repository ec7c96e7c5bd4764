import type { BackgroundWriter } from '../../base/background-writer.ts';
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/log.ts';
import type { SourceStatus, StreamName, StreamSink } from '../../contract/sources.ts';
import type { AuditRule } from '../audit/rules.ts';
import type { CommandLines } from '../processes/memory/command-lines.ts';
import type { ProcessTable } from '../processes/process-table.ts';
import type { HeldCount } from '../source-state/held-count.ts';
import type { FeedSubscriber, Feeds } from './feeds.ts';
import type { Feed } from './source-ladder.ts';

/** Declares a source of events: what happens, as one stream or several. Each is a file, and a row in index.ts. */
export interface SourceDeclaration {
  /** What it reports. Each stream has one source. */
  readonly streams: readonly StreamName[];
  /** The feeds that it can take its facts from. The best available one is open while one of the streams is wanted. */
  readonly feeds: readonly Feed[];
  /** What the kernel's audit must report for it, meanwhile. */
  readonly auditRules: readonly AuditRule[];
  /** Makes it. Nothing is opened yet. */
  make(host: SourceHost): EventSource;
}

/** A source of events. It is made once, and opened and closed as it is wanted. */
export interface EventSource extends FeedSubscriber {
  /** Called before the feeds follow a change of what is wanted: opens what must listen before they do. Never rejects. */
  prepare?(isWanted: boolean): Promise<void> | void;
  /**
   * Called after the feeds have followed, and every minute: opens, closes or tries again what it needs beside them. Never
   * rejects.
   *
   * @param feed the one that is open
   */
  follow?(isWanted: boolean, feed: Feed | undefined): Promise<void>;
  /** How it stands while it is wanted. */
  status(): SourceStatus;
  /** Hands over what it holds. Called when the agent stops, after the feeds have closed. Never rejects. */
  close?(): Promise<void>;
}

/** What sources are made with. */
export interface SourceHost {
  readonly sink: StreamSink;
  readonly clock: Clock;
  readonly log: Logger;
  /** Where the host's root directory is: `/`, or where a container has it mounted. */
  readonly hostRoot: string;
  /** Whether connections to this machine itself are of interest. */
  readonly loopback: boolean;
  /** Where to remember what must outlive the agent. Absent: nothing is remembered. */
  readonly stateDirectory: string | undefined;
  /** Writes there in the background, behind the events. Absent: at once. */
  readonly writer: BackgroundWriter | undefined;
  /** The programs that run, as the feeds report them. */
  readonly table: ProcessTable;
  /** Reads arguments of running processes. */
  readonly commandLines: CommandLines;
  /** The container that a process is in, or has just been. */
  readonly containerOf: (pid: number) => string | undefined;
  readonly feeds: Pick<Feeds, 'current' | 'status' | 'statusOfCalls' | 'startsRead' | 'startsSettled' | 'listenToEnds'>;
  /**
   * Notes how many records of a stream it holds in memory, so that the next run counts them if this one is killed. It is
   * closed after the source.
   *
   * @param max no run holds more
   */
  readonly held: (stream: StreamName, max: number) => HeldCount | undefined;
}
