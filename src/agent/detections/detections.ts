import type { Clock } from '../../core/base/clock.ts';
import { type Duration, milliseconds, minutes } from '../../core/base/duration.ts';
import { toAgentError } from '../../core/base/errors.ts';
import type { Logger } from '../../core/base/log.ts';
import { Loop } from '../../core/base/loop.ts';
import type { Service } from '../../core/base/service.ts';
import { nextTurn, Turn } from '../../core/base/waiting.ts';
import type { Ancestry, FileFacts, ProcessThen, StartMoment } from '../../core/contract/ancestry.ts';
import type {
  Occurrence,
  OccurrenceBatch,
  OccurrenceConsumer,
  Snapshot,
  SnapshotConsumer,
} from '../../core/contract/consumers.ts';
import type { Payload } from '../../core/contract/event.ts';
import type { AuditFlood } from '../../core/contract/streams.ts';
import { ActorRecognition, ancestorsOf } from './actors/actor-recognition.ts';
import type { Alerts } from './alerts/alerts.ts';
import type { Continued } from './alerts/saved-state.ts';
import { AccountActors } from './changes/account-actors.ts';
import { agentChange, agentChanges } from './changes/change.ts';
import { CollectorWatch, type WatchedCollector } from './changes/collector-watch.ts';
import { withHolders } from './changes/port-holders.ts';
import { SnapshotChanges } from './changes/snapshot-changes.ts';
import { Detector, type Lists } from './detector.ts';
import { HarmlessStarts, type SeenStart } from './harmless-starts.ts';
import type { Fault, ParsedRule } from './sigma/rule.ts';
import type { Fields, Hit, LogSource, Subject } from './subject.ts';
import { SOURCES, subjectOf } from './subjects.ts';
import { WaitingList } from './waiting-list.ts';

/**
 * How long rule evaluation may block the event loop. Not shorter: events that wait for a later turn survive collections of young
 * objects, and a burst would fill the memory with them.
 */
const LONGEST_TURN = milliseconds(50);
/** How often collectors are checked for silence. */
const CHECK_EVERY = minutes(5);

/** For the status. */
export interface EvaluationStatus {
  /** Why some events are not evaluated. */
  readonly problem?: string;
  readonly rules: {
    readonly loaded: number;
    /** Number of the operator's rule files that were rejected. */
    readonly refused: number;
    /** Number of loaded rules that are off, keyed by reason. */
    readonly off: Readonly<Record<string, number>>;
    /** SHA-256 of all rules, and of the operator's own rules if any, in hexadecimal. */
    readonly hash: string;
    readonly ownHash?: string;
  };
  /** Rows of the last snapshot that could not be compared, keyed by event. */
  readonly incomplete: Readonly<Record<string, number>>;
  readonly isEnabled: boolean;
}

/** Rules that are evaluated together. */
export interface RuleSet {
  readonly rules: readonly ParsedRule[];
  /** Errors in rejected rules and files. */
  readonly faults: readonly Fault[];
  /** SHA-256 of all rules, in hexadecimal. */
  readonly sha256: string;
  /** SHA-256 of the operator's own rules; omitted without any. */
  readonly ownSha256?: string;
}

/** An event that waits for evaluation. */
interface Waiting {
  readonly subject: Subject;
  /** The start, by which equal starts are recognised. */
  readonly start?: KnownStart;
}

interface KnownStart extends SeenStart {
  readonly parent: ProcessThen | undefined;
  readonly moment: StartMoment;
}

interface Parts {
  /** Whether detections are switched on. */
  readonly isOn: () => boolean;
  /** The initial rules. */
  readonly rules: RuleSet;
  /** The entries of the twin's lists, keyed by name. */
  readonly lists: () => Lists;
  readonly alerts: Pick<Alerts, 'take'>;
  /** Past states of processes, to find the ancestors of a process. */
  readonly ancestry: Ancestry;
  /** Facts about files, to recognise trusted actors. */
  readonly files: FileFacts;
  /** The name of a user of this host. */
  readonly userNameOf: (userId: number) => string | undefined;
  /** The id of the event for an occurrence, if known. */
  readonly idOf: (occurrence: Occurrence) => string | undefined;
  /** The current state of all event collectors. */
  readonly collectors: () => readonly WatchedCollector[];
  readonly isPaused: () => boolean;
  readonly snapshotPeriod: () => Duration;
  readonly clock: Clock;
  readonly log: Logger;
  /** Called when the status has changed. */
  readonly changed: () => void;
  /** Called when there is state to save. */
  readonly stateChanged: () => void;
}

/**
 * Evaluates the rules for the events on this device, and raises alerts.
 *
 * Receives occurrences before aggregation, with any priority and even during a pause, and every snapshot. It never changes or
 * delays an event: slow evaluations continue in later turns of the event loop, and an internal error makes the component
 * `degraded`.
 */
export class Detections implements OccurrenceConsumer, SnapshotConsumer, Service, Continued {
  readonly name = 'detections';
  readonly #parts: Parts;
  readonly #changes = new SnapshotChanges();
  readonly #accountActors = new AccountActors();
  readonly #watch: CollectorWatch;
  readonly #loop: Loop;
  readonly #waiting = new WaitingList<Waiting>();
  readonly #actors: ActorRecognition;
  #isDraining = false;
  /** The latest snapshot of each event that has not been compared yet. A newer snapshot replaces a waiting one. */
  readonly #snapshots = new Map<string, Snapshot>();
  #isComparing = false;
  #comparing: Promise<void> = Promise.resolve();
  #draining: Promise<void> = Promise.resolve();
  #rules: RuleSet;
  /** Created on first use, because it would delay the start. */
  #made: { readonly detector: Detector; readonly harmless: HarmlessStarts } | undefined;
  #lists: string;
  #sources: ReadonlySet<LogSource>;
  #droppedEvents = 0;
  /** The kinds of gaps in the status that any user can cause. */
  #gaps = '';
  #defect: string | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
    const { clock, log, snapshotPeriod } = parts;
    this.#watch = new CollectorWatch({ clock, snapshotPeriod });
    this.#loop = new Loop((signal) => this.#turn(signal), { clock, log });
    this.#actors = new ActorRecognition(parts.files);
    this.#lists = JSON.stringify(parts.lists());
    this.#rules = parts.rules;
    this.#sources = sourcesOf(parts.rules);
  }

  /** All rules that were read. */
  get rules(): readonly ParsedRule[] {
    return this.#rules.rules;
  }

  /** Replaces all rules. Correlations in both sets keep their state. */
  load(rules: RuleSet): void {
    const areOthers = rules.rules !== this.#rules.rules;
    this.#rules = rules;
    this.#sources = sourcesOf(rules);
    if (areOthers) this.#renew();
    this.#parts.changed();
  }

  /** Call this when the lists may have changed. Correlations keep their state. */
  refresh(): void {
    const lists = this.#parts.lists();
    const text = JSON.stringify(lists);
    if (text === this.#lists) return;
    this.#lists = text;
    this.#renew();
  }

  #renew(): void {
    const state = this.#made?.detector.save();
    this.#made = undefined;
    if (state !== undefined) this.#detector.restore(state);
  }

  get #detector(): Detector {
    return this.#engine.detector;
  }

  get #harmless(): HarmlessStarts {
    return this.#engine.harmless;
  }

  get #engine() {
    if (this.#made === undefined) {
      const { clock, lists, stateChanged } = this.#parts;
      const detector = new Detector({ rules: this.#rules.rules, lists: lists(), clock, changed: stateChanged });
      this.#made = { detector, harmless: new HarmlessStarts(detector) };
    }
    return this.#made;
  }

  async start(): Promise<void> {
    this.#loop.start();
  }

  /** Events that wait are still evaluated. */
  async stop(): Promise<void> {
    await this.#loop.stop();
    await this.#comparing;
    await this.#draining;
  }

  /** Events are evaluated even while their priority is Off or collection is paused, so that neither disables detection. */
  wants(event: string): boolean {
    if (!this.#parts.isOn()) return false;
    if (SnapshotChanges.compares(event)) return true;
    if (event === 'ConfigurationError') return this.#sources.has('agent');
    const source = SOURCES[event];
    return source !== undefined && this.#sources.has(source);
  }

  /** Whether snapshots of this event should be polled, because rules refer to their changes. */
  follows(event: string): boolean {
    const source = SnapshotChanges.sourceOf(event);
    return this.#parts.isOn() && source !== undefined && this.#sources.has(source);
  }

  accept(taken: OccurrenceBatch | Snapshot): void {
    try {
      if ('rows' in taken) this.#acceptSnapshot(taken);
      else this.#acceptOccurrences(taken);
    } catch (error) {
      this.#failed(error);
    }
  }

  /** Applies the rules to a flood of audit events by a user. */
  auditFlooded({ time, userId, lost, share, excludedUntil }: AuditFlood): void {
    if (!this.#parts.isOn()) return;
    const excluded: Fields = excludedUntil === undefined ? {} : { ExcludedUntil: excludedUntil.toISOString() };
    const fields = { UserId: String(userId), LostEvents: String(lost), Percent: String(share), ...excluded };
    this.#evaluate([agentChange(fields, { event: 'AuditFlooded', at: time })]);
  }

  failed(): void {
    // The collector's status reports it; CollectorWatch detects a lasting failure.
  }

  /** While events wait for a later turn, they can still cause an alert. */
  isBehind(): boolean {
    return this.#isDraining;
  }

  lost(): void {
    // Counted by the pipeline; CollectorWatch detects the loss of a source.
  }

  #acceptSnapshot(snapshot: Snapshot): void {
    this.#watch.saw(snapshot.event);
    this.#snapshots.set(snapshot.event, snapshot);
    if (!this.#isComparing) this.#comparing = this.#compare();
  }

  /** Compares as many snapshots as fit into this turn, one after another; the rest in later turns. */
  async #compare(): Promise<void> {
    this.#isComparing = true;
    const turn = new Turn(this.#parts.clock);
    for (const [event, snapshot] of this.#snapshots) {
      this.#snapshots.delete(event);
      try {
        // Rows added to an incomplete base show no change, but must be known after a restart.
        const wasWhole = this.#changes.hasWhole(event);
        const work = this.#changes.inSlices(snapshot);
        let step = work.next();
        for (; !step.done; step = work.next()) if (turn.isOver()) await turn.next();
        const isWhole = wasWhole && this.#changes.hasWhole(event);
        if (!isWhole || step.value.length > 0) this.#parts.stateChanged();
        const changes = withHolders(step.value, snapshot, this.#parts.ancestry);
        this.#evaluate(this.#accountActors.named(changes));
      } catch (error) {
        this.#failed(error);
      }
    }
    this.#isComparing = false;
  }

  #acceptOccurrences(batch: OccurrenceBatch): void {
    this.#watch.saw(batch.event);
    for (const occurrence of batch.occurrences()) {
      if (batch.event === 'ConfigurationError') this.#evaluate(this.#configurationError(occurrence));
      else if (batch.event === 'ProcessCreate') this.#acceptStart(occurrence);
      else this.#evaluateOccurrence(occurrence);
    }
  }

  #acceptStart(occurrence: Occurrence): void {
    const { payload, time, serial, argv } = occurrence;
    const moment = { time: time.getTime(), serial };
    if (payload.UserId === '0') this.#noteActor(payload, moment, argv);
    this.#accountActors.started(payload, moment.time);
    const start: KnownStart = { payload, parent: this.#parentOf(payload, moment), argv, moment };
    // Waiting events could make this start harmful.
    if (this.#waiting.isEmpty && this.#harmless.has(start, time.getTime())) return;
    this.#evaluateOccurrence(occurrence, start);
  }

  /** The parent of a started process, in its state at that time. */
  #parentOf({ ParentProcessId }: Payload, moment: StartMoment): ProcessThen | undefined {
    if (typeof ParentProcessId !== 'number' || ParentProcessId === 0) return undefined;
    return this.#parts.ancestry.processAt(ParentProcessId, moment);
  }

  /** Recorded because a trusted actor may have exited when a hit of its child is examined. */
  #noteActor(payload: Payload, since: StartMoment, argv: readonly string[] | undefined): void {
    const { ProcessId, ParentProcessId, Executable } = payload;
    this.#actors.started({
      pid: Number(ProcessId),
      parentPid: Number(ParentProcessId),
      executable: String(Executable),
      argv,
      userId: 0,
      since,
    });
  }

  #configurationError({ event, payload, time }: Occurrence): readonly Subject[] {
    return agentChanges([payload], { event, at: time });
  }

  #evaluateOccurrence(occurrence: Occurrence, start?: KnownStart): void {
    const { event: name, payload, time, argv } = occurrence;
    const id = this.#parts.idOf(occurrence);
    const ids = id === undefined ? [] : [id];
    const { userNameOf } = this.#parts;
    const subject = subjectOf({ name, payload, time: time.getTime(), ids, parent: start?.parent, argv, userNameOf });
    if (subject !== undefined) this.#queue([start === undefined ? { subject } : { subject, start }]);
  }

  #evaluate(subjects: readonly Subject[]): void {
    this.#queue(subjects.map((subject) => ({ subject })));
  }

  /** Evaluates as many events as fit into this turn; the rest in later turns. */
  #queue(added: readonly Waiting[]): void {
    for (const each of added) {
      if (this.#waiting.add(each)) continue;
      if (this.#droppedEvents === 0) this.#parts.changed();
      this.#droppedEvents += 1;
    }
    if (!this.#isDraining) this.#draining = this.#drain();
  }

  async #drain(): Promise<void> {
    this.#isDraining = true;
    const { clock } = this.#parts;
    let began = clock.monotonic();
    for (let waiting = this.#waiting.take(); waiting !== undefined; waiting = this.#waiting.take()) {
      this.#take(waiting);
      if (clock.monotonic() - began < LONGEST_TURN) continue;
      await nextTurn();
      began = clock.monotonic();
    }
    this.#isDraining = false;
  }

  #take({ subject, start }: Waiting): void {
    try {
      const evaluation = this.#detector.match(subject);
      if (start !== undefined) this.#harmless.learn(start, evaluation);
      for (const found of this.#detector.hitsOf(subject, evaluation.matches)) {
        const hit = start === undefined ? found : this.#withAncestors(found, start);
        // Otherwise a single hit that a silence or an exception suppresses would hide the rest of the attack.
        if (!this.#parts.alerts.take(hit)) hit.rearm?.();
      }
      this.#reportGaps();
    } catch (error) {
      this.#failed(error);
    }
  }

  #withAncestors(hit: Hit, { payload, parent, moment }: KnownStart): Hit {
    const ancestors = ancestorsOf(parent, moment, this.#parts.ancestry);
    const during = this.#actors.causeOf(payload, ancestors, hit.rule.lowered);
    const executables = ancestors.map(({ executable }) => executable);
    return { ...hit, ancestors: executables, ...(during === undefined ? {} : { during }) };
  }

  /** The status is updated when there is a new kind of gap, not for each event. */
  #reportGaps(): void {
    const { skippedViews, droppedGroups } = this.#detector;
    if (skippedViews === 0 && droppedGroups === 0) return;
    const gaps = `${skippedViews > 0} ${droppedGroups > 0}`;
    if (gaps === this.#gaps) return;
    this.#gaps = gaps;
    this.#parts.changed();
  }

  /** An internal error. Only the first one is logged, because a user who can cause one can cause any number. */
  #failed(error: unknown): void {
    const known = this.#defect;
    this.#defect = toAgentError(error).message;
    if (known !== undefined) return;
    this.#parts.log.error(
      { err: error },
      'Failed to evaluate the rules for an event; further failures are not logged.',
    );
    this.#parts.changed();
  }

  async #turn(signal: AbortSignal): Promise<void> {
    await this.#parts.clock.sleep(CHECK_EVERY, signal);
    if (!signal.aborted) this.#evaluate(this.#silentCollectors());
  }

  /**
   * A collector whose events are not requested cannot be silent, not even directly after they are requested again.
   */
  #silentCollectors(): readonly Subject[] {
    const { collectors, isPaused } = this.#parts;
    return collectors().flatMap((each) => this.#watch.check([each], isPaused() || !this.wants(each.name)));
  }

  status(): EvaluationStatus {
    const rules = this.#detector.rules;
    const off: Record<string, number> = {};
    for (const { off: reason } of rules) if (reason !== undefined) off[reason] = (off[reason] ?? 0) + 1;
    const { skippedViews, droppedGroups } = this.#detector;
    const problems = [
      ...(this.#defect === undefined ? [] : [`Failed to evaluate an event: ${this.#defect}.`]),
      ...(this.#droppedEvents === 0 ? [] : [`${this.#droppedEvents} events arrived too fast to be evaluated.`]),
      ...(skippedViews === 0 ? [] : [`Rules that took too much time skipped ${skippedViews} long strings.`]),
      ...(droppedGroups === 0
        ? []
        : [`${droppedGroups} event series of correlations were dropped early, because there were too many.`]),
      ...(off.time === undefined ? [] : [`${off.time} rules were disabled because they took too much time.`]),
    ];
    return {
      ...(problems.length === 0 ? {} : { problem: problems.join(' ') }),
      rules: {
        loaded: rules.length,
        refused: new Set(this.#rules.faults.map(({ file }) => file)).size,
        off,
        hash: this.#rules.sha256,
        ...(this.#rules.ownSha256 === undefined ? {} : { ownHash: this.#rules.ownSha256 }),
      },
      incomplete: this.#changes.incomplete(),
      isEnabled: this.#parts.isOn(),
    };
  }

  toJson(): unknown {
    return { changes: this.#changes.toJson(), watch: this.#watch.toJson(), correlations: this.#detector.save() };
  }

  restore(value: unknown): void {
    const { changes, watch, correlations } = (value ?? {}) as Record<string, unknown>;
    this.#changes.restore(changes);
    this.#watch.restore(watch);
    this.#detector.restore(correlations);
  }
}

const sourcesOf = ({ rules }: RuleSet): ReadonlySet<LogSource> => new Set(rules.flatMap(({ facts }) => facts.sources));
