import type { Duration } from '../../core/base/duration.ts';
import type { LogLine } from '../../core/base/log.ts';
import type { TemporaryLogLevel } from '../../core/base/temporary-log-level.ts';
import type { LocalSettings } from '../config/local.ts';
import type { Pause } from '../pipeline/pause.ts';
import type { Flushed } from '../pipeline/publisher.ts';
import type { Snapshots } from '../pipeline/snapshots.ts';
import type { LocalStatus } from '../status/schema.ts';

/** The parts of the agent that direct methods use. */
export interface MethodParts {
  readonly now: () => Date;
  readonly status: () => LocalStatus;
  readonly takeNow: Snapshots['takeOnRequest'];
  /** Closes the aggregation windows and sends queued events until the queues are empty or `limit` is over. */
  readonly flush: (limit: Duration) => Promise<Flushed>;
  readonly pause: Pick<Pause, 'begin' | 'end' | 'status'>;
  readonly logLevel: Pick<TemporaryLogLevel, 'set'>;
  /** The last warnings and errors, oldest first. */
  readonly recentLines: () => readonly LogLine[];
  /** The configuration from the twin that is in force, as in the reported properties. */
  readonly configuration: () => Readonly<Record<string, unknown>>;
  readonly local: LocalSettings;
  /** Strings that no answer may contain. */
  readonly secrets: () => readonly string[];
}
