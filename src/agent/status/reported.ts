import type { Clock } from '../../core/base/clock.ts';
import { type Duration, milliseconds } from '../../core/base/duration.ts';
import type { Logger } from '../../core/base/log.ts';
import { Loop } from '../../core/base/loop.ts';
import type { Service } from '../../core/base/service.ts';
import { Alarm } from '../../core/base/waiting.ts';
import type { SettingsReader } from '../../core/contract/settings.ts';
import { localStatus, type Observed } from './observe.ts';
import type { DetectionsStatus, Posture, SecurityAgentStatus } from './schema.ts';

type PartOfStatus =
  | keyof SecurityAgentStatus
  | `configuration.${keyof SecurityAgentStatus['configuration']}`
  | `detections.${keyof DetectionsStatus}`;

/** Parts of the status that are left out when a twin has no space for all, in this order. What the twin switches off stays. */
export const EXPENDABLE: readonly PartOfStatus[] = [
  'posture',
  'collectors',
  'delivery',
  'detections.exceptions',
  'detections.unusedExceptions',
  'restarts',
  'store',
  'configuration.warnings',
  'credential',
];

/**
 * The status as it is reported to the twin. States are always current. Figures change with every event (counters, times
 * of the last run and of the last message, and others), so they are updated only every `highPriorityMessageFrequency`: the
 * hub charges for every report.
 */
export class ReportedStatus implements Service {
  readonly name = 'reported status';
  readonly #observed: Observed;
  readonly #settings: SettingsReader;
  readonly #clock: Clock;
  readonly #changed: () => void;
  readonly #alarm = new Alarm();
  readonly #lastRuns = new Map<string, string>();
  #posture: Posture | undefined;
  #detections: DetectionsStatus | undefined;
  #figures: Pick<SecurityAgentStatus, 'delivery' | 'pause'> | undefined;
  #takenAt: Duration;
  /** The part of the frequency that the current period takes; 1 after the first. */
  #part: number;
  readonly #loop: Loop;

  constructor(options: {
    observed: Observed;
    settings: SettingsReader;
    clock: Clock;
    log: Logger;
    /** Length of the first period, as a part of the full length. Default: all of it. */
    firstPeriod?: number;
    /** Called when the figures were updated. */
    changed: () => void;
  }) {
    this.#observed = options.observed;
    this.#settings = options.settings;
    this.#clock = options.clock;
    this.#loop = new Loop((signal) => this.#turn(signal), options);
    this.#changed = options.changed;
    this.#takenAt = this.#clock.monotonic();
    this.#part = options.firstPeriod ?? 1;
    this.#settings.onChange(() => this.#alarm.ring());
  }

  async start(): Promise<void> {
    this.#loop.start();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
  }

  /** The status that the reported properties should contain now. */
  current(): SecurityAgentStatus {
    const { pid, localFileHash, hub, events, queues, messages, memory, logLevel, next, routing, heldUp, ...status } =
      localStatus(this.#observed);
    const { delivery, pause } = status;
    this.#figures ??= { delivery, ...(pause === undefined ? {} : { pause }) };
    const { pause: reportedPause, delivery: figuresOfDelivery } = this.#figures;
    const { held: _then, overShare: _of, ...reportedDelivery } = figuresOfDelivery;
    const skipped = reportedPause?.until === pause?.until ? reportedPause?.skipped : 0;
    if (this.#posture === undefined || findings(this.#posture) !== findings(status.posture)) {
      this.#posture = status.posture;
    }
    const { detections } = status;
    if (
      detections === undefined ||
      this.#detections === undefined ||
      stateOf(this.#detections) !== stateOf(detections)
    ) {
      this.#detections = detections;
    }
    const collectors = Object.entries(status.collectors).map(([name, { lastRunAt, ...collector }]) => {
      if (lastRunAt === undefined) return [name, collector];
      const reported = this.#lastRuns.get(name) ?? lastRunAt;
      this.#lastRuns.set(name, reported);
      return [name, { ...collector, lastRunAt: reported }];
    });
    return {
      ...status,
      delivery: {
        ...reportedDelivery,
        ...(delivery.held === undefined ? {} : { held: delivery.held }),
        ...(delivery.overShare === undefined ? {} : { overShare: delivery.overShare }),
      },
      ...(pause === undefined ? {} : { pause: { ...pause, skipped: skipped ?? 0 } }),
      ...(this.#detections === undefined ? {} : { detections: this.#detections }),
      posture: this.#posture,
      collectors: Object.fromEntries(collectors),
    };
  }

  /** Updates the figures: at their frequency, and before the last report. */
  takeFigures(): void {
    this.#figures = undefined;
    this.#lastRuns.clear();
    this.#posture = undefined;
    this.#detections = undefined;
    this.#takenAt = this.#clock.monotonic();
    this.#part = 1;
    this.#changed();
  }

  async #turn(signal: AbortSignal): Promise<void> {
    const due = this.#takenAt + this.#settings.current().highPriorityMessageFrequency * this.#part;
    const left = due - this.#clock.monotonic();
    if (left > 0) await this.#alarm.sleep(this.#clock, milliseconds(left), signal);
    else this.takeFigures();
  }
}

/** The part of a posture that is reported at once: everything except time and duration of the scan and the number of ports. */
function findings({ baseline, listeningPorts, ...others }: Posture): string {
  const { scannedAt: _at, durationMs: _took, ...found } = baseline ?? {};
  return JSON.stringify([found, listeningPorts === undefined, others]);
}

/**
 * The part of the detections' status that is reported at once: everything except counters and the last alert. That there is a
 * first alert of a severity is a state: an owner who queries a fleet for alerts must not wait for the counters.
 */
function stateOf({ alerts, counted: _counted, suppressed: _by, last: _last, exceptions, ...state }: DetectionsStatus) {
  const raised = Object.entries(alerts).filter(([, count]) => count > 0);
  return JSON.stringify([state, Object.keys(exceptions ?? {}), raised.map(([severity]) => severity)]);
}
