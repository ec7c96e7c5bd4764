import * as v from 'valibot';
import { type Clock, isPlausible, type Moment, momentOf } from '../../core/base/clock.ts';
import { minutes } from '../../core/base/duration.ts';
import type { Logger } from '../../core/base/log.ts';
import { readStateJson } from '../state/read-state.ts';
import type { StateFiles } from '../state/state-files.ts';
import {
  type Assessment,
  type Assessments,
  RECOMMENDATION_IDS,
  type RecommendationId,
  SEVERITIES,
  type Severity,
} from './recommendation.ts';

/** A recommendation in force, as the status reports it. */
export interface Recommendation {
  readonly severity: Severity;
  readonly count: number;
  /** When the agent first found reason for it. RFC 3339, UTC. */
  readonly since: string;
  /** Why it can't be assessed now. It is kept, with the last severity and count. */
  readonly reason?: string;
}

/** The status has no arrays: objects by id. */
export interface Recommended {
  readonly recommendations: Readonly<Partial<Record<RecommendationId, Recommendation>>>;
  /** Why others can't be assessed. */
  readonly notJudged: Readonly<Partial<Record<RecommendationId, string>>>;
}

/** A time further in the future than this comes from a clock that was wrong, then or now. */
const TOLERANCE = minutes(1);

const SavedRecommendations = v.record(
  v.string(),
  v.object({
    severity: v.picklist(SEVERITIES),
    count: v.pipe(v.number(), v.safeInteger(), v.minValue(1)),
    since: v.pipe(v.string(), v.isoTimestamp()),
  }),
);

type InForce = Omit<Recommendation, 'reason'>;

/**
 * The recommendations in force, kept in a file over restarts.
 *
 * `since` is a time of the wall clock. If that was not set, or was ahead, the time is corrected as soon as the clock shows
 * it, by the monotonic clock; of a time that an earlier run recorded, only that it is before the start of this run is known.
 */
export class Recommendations {
  readonly #file: string;
  readonly #files: StateFiles;
  readonly #clock: Pick<Clock, 'now' | 'monotonic'>;
  readonly #log: Logger;
  readonly #inForce = new Map<RecommendationId, InForce>();
  /** When this run first knew of each, by the monotonic clock. */
  readonly #knownAt = new Map<RecommendationId, Moment['monotonic']>();
  #isRead = false;
  #written = '';

  constructor(options: { file: string; files: StateFiles; clock: Pick<Clock, 'now' | 'monotonic'>; log: Logger }) {
    this.#file = options.file;
    this.#files = options.files;
    this.#clock = options.clock;
    this.#log = options.log;
  }

  /** Updates what is in force, and returns it. The same assessments can be passed repeatedly. */
  update(assessments: Assessments): Recommended {
    const now = momentOf(this.#clock);
    this.#read(now);
    const notJudged: Partial<Record<RecommendationId, string>> = {};
    const reasons = new Map<RecommendationId, string>();
    for (const id of RECOMMENDATION_IDS) {
      const assessment = assessments[id];
      this.#assess(id, assessment, now);
      if (assessment.state !== 'unknown') continue;
      if (this.#inForce.has(id)) reasons.set(id, assessment.reason);
      else notJudged[id] = assessment.reason;
    }
    this.#write();
    const recommendations: Partial<Record<RecommendationId, Recommendation>> = {};
    for (const id of RECOMMENDATION_IDS) {
      const inForce = this.#inForce.get(id);
      const reason = reasons.get(id);
      if (inForce !== undefined) recommendations[id] = { ...inForce, ...(reason === undefined ? {} : { reason }) };
    }
    return { recommendations, notJudged };
  }

  #assess(id: RecommendationId, assessment: Assessment, now: Moment): void {
    if (assessment.state === 'clear') {
      this.#inForce.delete(id);
      this.#knownAt.delete(id);
      return;
    }
    const before = this.#inForce.get(id);
    if (assessment.state === 'unknown' && before === undefined) return;
    const knownAt = this.#knownAt.get(id) ?? now.monotonic;
    this.#knownAt.set(id, knownAt);
    const since = corrected(before?.since, knownAt, now);
    if (assessment.state === 'holds')
      this.#inForce.set(id, { severity: assessment.severity, count: assessment.count, since });
    else if (before !== undefined) this.#inForce.set(id, { ...before, since });
  }

  /** The file is untrusted input, like everything on disk: if it is invalid, nothing is in force. */
  #read({ monotonic }: Moment): void {
    if (this.#isRead) return;
    this.#isRead = true;
    try {
      const kept = readStateJson(this.#file, (value) => v.parse(SavedRecommendations, value)) ?? {};
      for (const id of RECOMMENDATION_IDS) {
        const { severity, count, since } = kept[id] ?? {};
        if (severity === undefined || count === undefined || since === undefined) continue;
        this.#inForce.set(id, { severity, count, since });
        this.#knownAt.set(id, monotonic);
      }
      this.#written = this.#text();
    } catch (error) {
      this.#log.warn({ err: error }, 'Could not read the saved recommendations; their times start again.');
    }
  }

  #write(): void {
    const text = this.#text();
    if (text === this.#written) return;
    this.#written = text;
    this.#files.replace(this.#file, text, (err) => {
      // The queues report a disk that can't be written.
      if (err !== undefined) this.#log.debug({ err }, 'Could not save the recommendations.');
    });
  }

  #text = (): string => `${JSON.stringify(Object.fromEntries(this.#inForce))}\n`;
}

function corrected(since: string | undefined, knownAt: Moment['monotonic'], { wall, monotonic }: Moment): string {
  if (since === undefined) return new Date(wall).toISOString();
  const time = Date.parse(since);
  const isWrong = !isPlausible(new Date(time)) || time > wall + TOLERANCE;
  return isWrong && isPlausible(new Date(wall)) ? new Date(wall - (monotonic - knownAt)).toISOString() : since;
}
