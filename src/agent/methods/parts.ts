import * as v from 'valibot';
import { type Duration, days, parseDuration, seconds } from '../../core/base/duration.ts';
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

/* Schemas for the members of requests and answers. */

/** An ISO 8601 duration of at least PT1S. @param max the maximum, as text and as a duration */
export const durationUpTo = ([spelt, max]: readonly [string, Duration], description: string) => {
  const message = `must be an ISO 8601 duration from PT1S to ${spelt}`;
  return v.pipe(
    v.string(message),
    v.maxLength(64, message),
    v.check((text) => parseDuration(text, seconds(1), max) !== undefined, message),
    v.description(description), // before the transformation, or the JSON Schema lacks it
    v.transform((text) => parseDuration(text) ?? seconds(1)),
  );
};

export const A_DAY = ['PT24H', days(1)] as const;

export const nothing = v.strictObject({});
export const text = (description: string) => v.pipe(v.string(), v.description(description));
export const time = (description: string) => v.pipe(v.string(), v.isoTimestamp(), v.description(description));
export const count = (description: string) => v.pipe(v.number(), v.integer(), v.description(description));
export const object = (description: string) => v.pipe(v.object({}), v.description(description));
