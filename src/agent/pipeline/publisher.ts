import { randomPart } from '../../core/base/backoff.ts';
import type { Clock } from '../../core/base/clock.ts';
import type { DropReason } from '../../core/base/counters.ts';
import { type Duration, hours, LONG_AGO, milliseconds, minutes, NEVER, seconds } from '../../core/base/duration.ts';
import { AgentError } from '../../core/base/errors.ts';
import { type Logger, logError } from '../../core/base/log.ts';
import { keepGoing } from '../../core/base/loop.ts';
import type { Service } from '../../core/base/service.ts';
import { Alarm } from '../../core/base/waiting.ts';
import { QUEUES, type QueueName } from '../../core/contract/event.ts';
import type { HubClient, Retry } from '../../core/contract/hub.ts';
import {
  LONGEST_EVIDENCE,
  type Marking,
  markingsOf,
  mayContain,
  type Routing,
  sizeOf,
  UNIT_BYTES,
  unitsOf,
} from '../../core/contract/message.ts';
import type { Settings, SettingsReader } from '../../core/contract/settings.ts';
import { type Use, usesOf } from './event-owner.ts';
import { FairSelection, TURNS } from './fair-selection.ts';
import { type Budget, NO_BUDGET } from './message-budget.ts';
import type { MessageChain } from './message-chain.ts';
import { type Pack, type PackResult, pack, type Sender, type Share } from './pack.ts';
import type { EventQueues } from './queue.ts';
import { SendBackoff } from './send-backoff.ts';
import { Suspicion } from './suspicion.ts';

/** A backlog drains at no more than two messages a second (contract §6). */
const SPACING = milliseconds(500);
/** Time limit for sending after SIGTERM (contract §6). */
const SHUTDOWN_LIMIT = seconds(10);
/** Minimum time between attempts to send a passed-over event while its queue is otherwise empty. */
const PASSED_OVER_INTERVAL = hours(1);
/** How often a held queue checks whether it may be sent again. */
const HELD_CHECK_INTERVAL = minutes(1);
/** How often urgent events that exceed the reserve are tried again: another user's may have arrived, which have precedence. */
const URGENT_CHECK_INTERVAL = seconds(10);
/**
 * Minimum time between messages that are sent because Low could fill one, while most of what fills it may belong to an owner
 * that has used its share.
 */
const FULL_REST = minutes(15);
/** An event that takes more than this part of what its queue may use in a day is shortened, so that it need not wait for hours. */
const LARGEST_PART = 1 / 4;
/** Events that may use the reserve of the budget. */
const URGENT: ReadonlySet<string> = new Set(['SecurityAlert', 'Diagnostic']);

type PublishedQueues = Pick<EventQueues, 'onPut' | 'waiting' | 'take' | 'hasTaken' | 'settle'>;

/** The pack being sent, and the markings with which it has not been accepted yet. */
interface InFlight {
  readonly pack: Pack;
  readonly markingsLeft: readonly Marking[];
  /** False if it was packed to find an event that ends the connection. */
  readonly isUsual: boolean;
  /** It holds nothing but events that may use the reserve of the budget. */
  readonly isUrgent: boolean;
  readonly uses: readonly Use[];
}

/** Gives the messages of each marking their numbers. */
export type Chains = Readonly<Record<Marking, Pick<MessageChain, 'numbered' | 'accepted'>>>;

/** The result of a flush. */
export interface Flushed {
  readonly messages: number;
  readonly events: number;
  /** Events still in the queues. */
  readonly left: number;
}

/** Counts of sent messages since the agent started. */
export interface Sent {
  readonly sent: number;
  readonly under4KB: number;
  readonly failed: number;
  readonly lastSentAt?: Date;
  readonly lastError?: AgentError;
}

/** How long an urgent event may wait in the High queue, however long its frequency is. */
export const URGENT_WITHIN = minutes(7);

/**
 * Sends the queued events, one message at a time, retrying each until the hub accepts it.
 *
 * A message is sent when its queue's frequency has elapsed, or as soon as the queue can fill one. While the hub client
 * is not connected nothing is sent; its `connected` event resumes sending.
 */
export class Publisher implements Service {
  readonly name = 'publisher';
  readonly #queues: PublishedQueues;
  readonly #hub: HubClient;
  readonly #settings: SettingsReader;
  readonly #sender: Sender;
  readonly #markings: readonly Marking[];
  readonly #extensions: ReadonlySet<string>;
  readonly #chains: Chains;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #alarm = new Alarm();
  readonly #stop = new AbortController();
  readonly #backoff: SendBackoff;
  readonly #suspicion = new Suspicion();
  readonly #random: () => number;
  readonly #noted: () => void;
  readonly #budget: Budget;
  readonly #fair: FairSelection;
  readonly #lastSend: Record<QueueName, Duration>;
  /** The part of its frequency that each queue's current period takes. */
  readonly #part: Record<QueueName, number>;
  /** Queues that became due while the hub was away, and have not been sent since. */
  readonly #overdue = new Set<QueueName>();
  /** Deadline for sending the High queue, if earlier than its frequency. Monotonic clock. */
  #highDueBy = NEVER;
  /** The High queue holds an event that may use the reserve of the budget. */
  #isUrgent = false;
  /** Until then the reserve can't pay for these events. Monotonic clock. */
  #urgentRestsUntil = LONG_AGO;
  /** Until then Low is sent at its frequency only. Monotonic clock. */
  #fullRestsUntil = LONG_AGO;
  #inFlight: InFlight | undefined;
  #deadline: Duration | undefined;
  #sent: Sent = { sent: 0, under4KB: 0, failed: 0 };
  #delivered = 0;
  readonly #listeners: ((queue: QueueName, positions: ReadonlySet<number>) => void)[] = [];
  /** Pending calls of `flush`, each with its deadline by the monotonic clock. */
  #flushes: { readonly until: Duration; readonly done: () => void }[] = [];
  #loop: Promise<void> = Promise.resolve();

  constructor(options: {
    queues: PublishedQueues;
    hub: HubClient;
    settings: SettingsReader;
    sender: Sender;
    routing: Routing;
    chains: Chains;
    /** Names of the events that are not in the published contract. If omitted, none is sent. */
    extensions?: ReadonlySet<string>;
    clock: Clock;
    log: Logger;
    random?: () => number;
    /** Length of each queue's first period, as a part of its frequency. Default: all of it. */
    firstPeriod?: number;
    /** Called after every attempt, when the result of `sent()` has changed. */
    noted?: () => void;
    /** Default: unlimited. */
    budget?: Budget;
  }) {
    this.#queues = options.queues;
    this.#hub = options.hub;
    this.#settings = options.settings;
    this.#sender = options.sender;
    this.#markings = markingsOf(options.routing);
    this.#chains = options.chains;
    this.#extensions = options.extensions ?? new Set();
    this.#clock = options.clock;
    this.#log = options.log;
    this.#random = options.random ?? Math.random;
    this.#backoff = new SendBackoff(this.#clock, this.#random);
    this.#noted = options.noted ?? (() => {});
    this.#budget = options.budget ?? NO_BUDGET;
    this.#fair = new FairSelection(this.#budget, this.#markings.length);
    const now = this.#clock.monotonic();
    this.#lastSend = { High: now, Low: now };
    this.#part = { High: options.firstPeriod ?? 1, Low: options.firstPeriod ?? 1 };
    this.#queues.onPut(() => this.#alarm.ring());
    this.#settings.onChange(() => this.#alarm.ring());
    this.#hub.on('connected', () => {
      this.#backoff.reconnected(this.#hub.status().credential.hub);
      this.#noteOverdue();
      this.#alarm.ring();
    });
    this.#hub.on('quotaRenewed', () => {
      this.#backoff.quotaRenewed();
      this.#alarm.ring();
    });
  }

  /** Sends events of an earlier run soon: they may be urgent. Call this when the queues are open. */
  async start(): Promise<void> {
    if (this.#queues.waiting('High').events > 0) this.sendHighWithin(milliseconds(URGENT_WITHIN * this.#part.High));
    this.#loop = this.#run();
  }

  /** Sends for up to ten seconds; the rest stays on disk. */
  async stop(): Promise<void> {
    this.#deadline ??= milliseconds(this.#clock.monotonic() + SHUTDOWN_LIMIT);
    this.#stop.abort();
    await this.#clock.within(milliseconds(SHUTDOWN_LIMIT + 1_000), 'the last message', this.#loop).catch((error) => {
      this.#log.warn({ err: error }, 'Stopped before the hub acknowledged a message; it will be sent again.');
    });
  }

  /**
   * Sends the queued events now, regardless of the frequencies, until the queues are empty, sending fails, or `limit`
   * has elapsed. A message that is unacknowledged by then may still arrive; its events count as left.
   */
  async flush(limit: Duration): Promise<Flushed> {
    const before = { messages: this.#sent.sent, events: this.#delivered };
    const until = milliseconds(this.#clock.monotonic() + limit);
    const flushed = new Promise<void>((done) => this.#flushes.push({ until, done }));
    this.#alarm.ring();
    await this.#clock.within(limit, 'sending what waits', flushed).catch(() => {});
    return {
      messages: this.#sent.sent - before.messages,
      events: this.#delivered - before.events,
      left: QUEUES.reduce((all, queue) => all + this.#queues.waiting(queue).events, 0),
    };
  }

  /**
   * Sends the High queue within `limit`, even if its frequency is longer. Alerts and Diagnostic events are sent even
   * when the rest of the queue is held, as long as the reserve has units for them.
   */
  sendHighWithin(limit: Duration): void {
    this.#isUrgent = true;
    this.#urgentRestsUntil = LONG_AGO;
    this.#highDueBy = milliseconds(Math.min(this.#highDueBy, this.#clock.monotonic() + limit));
    this.#alarm.ring();
  }

  sent(): Sent {
    return this.#sent;
  }

  /** The message bytes per day that the budget allows a queue. */
  bytesPerDay(queue: QueueName): number {
    return this.#bytesOf(this.#budget.maxUnits(queue));
  }

  /** The message bytes that `units` pay for, given that each message is sent once per marking. */
  #bytesOf(units: number): number {
    return Math.floor(units / this.#markings.length) * UNIT_BYTES;
  }

  /** When each queue is due next, even if it is empty. Wall-clock times; none while the hub is not connected. */
  next(): Partial<Readonly<Record<QueueName, Date>>> {
    if (this.#hub.status().state !== 'connected') return {};
    const settings = this.#settings.current();
    const now = this.#clock.monotonic();
    const inTime = (queue: QueueName) => {
      const isFull = this.#waiting(queue).bytes >= fullAt(settings);
      const left = isFull ? 0 : this.#lastSend[queue] + this.#period(settings, queue) - now;
      return new Date(this.#clock.now().getTime() + Math.max(0, left, this.#backoff.left));
    };
    return { High: inTime('High'), Low: inTime('Low') };
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    await keepGoing(() => this.#turn(signal), { signal, clock: this.#clock, log: this.#log });
    await this.#sendBeforeExit();
    this.#endFlushes();
  }

  async #turn(signal: AbortSignal): Promise<void> {
    try {
      if (this.#flushes.length > 0) return await this.#flushAll(signal);
      const { queue, wait, once } = this.#next();
      if (queue === undefined) await this.#alarm.sleep(this.#clock, wait, signal);
      else if (once) await this.#sendSpaced(queue, signal);
      else await this.#drain(queue, signal);
    } catch (error) {
      this.#returnTaken();
      throw error;
    }
  }

  /** After an internal error. Events left taken could never be sent; returning them may at worst send them twice. */
  #returnTaken(): void {
    this.#inFlight = undefined;
    for (const queue of QUEUES) if (this.#queues.hasTaken(queue)) this.#queues.settle(queue, 'kept');
  }

  /** The queue that is due, with `once` for a single message only; or, without a queue, the wait until one is due. */
  #next(): { queue?: QueueName; wait: Duration; once?: boolean } {
    const settings = this.#settings.current();
    const now = this.#clock.monotonic();
    if (this.#hub.status().state !== 'connected') return { wait: minutes(1) };
    const { left } = this.#backoff;
    if (left > 0) return { wait: milliseconds(Math.min(left, hours(1))) };
    const begun = this.#inFlight?.pack.shares[0];
    if (begun !== undefined) return { queue: begun.queue, wait: milliseconds(0), once: !this.#inFlight?.isUsual };
    const inQuestion = this.#inQuestion({ trials: true });
    if (inQuestion !== undefined) return { queue: inQuestion.queue, wait: milliseconds(0), once: true };
    let wait: number = hours(1);
    for (const queue of QUEUES) {
      const { events, bytes, passedOver } = this.#waiting(queue);
      const usual = this.#period(settings, queue);
      const interval = events === 0 && passedOver > 0 ? Math.max(usual, PASSED_OVER_INTERVAL) : usual;
      const dueAt = Math.min(this.#lastSend[queue] + interval, queue === 'High' ? this.#highDueBy : NEVER);
      const isDue = dueAt <= now;
      if (events + passedOver > 0 && this.#isHeld(queue) && !(isDue && this.#hasUrgent(queue))) {
        wait = Math.min(wait, HELD_CHECK_INTERVAL);
        continue;
      }
      if (queue === 'Low' && events === 0) this.#budget.noteOverShare(NOBODY);
      const enough = fullAt(settings);
      const mayBeFull = queue === 'High' || now >= this.#fullRestsUntil;
      if (events > 0 && bytes >= enough && mayBeFull) {
        // A small cache sends only full messages: there are many, and each costs whole units.
        return { queue, wait: milliseconds(0), once: enough < settings.maxMessageSizeInBytes };
      }
      if (events + passedOver > 0 && isDue) return { queue, wait: milliseconds(0) };
      if (isDue) this.#begin(queue, now);
      wait = Math.min(wait, isDue ? frequency(settings, queue) : dueAt - now);
    }
    return { wait: milliseconds(wait) };
  }

  /** How long the queue's current period takes. */
  #period(settings: Settings, queue: QueueName): Duration {
    return milliseconds(Math.round(frequency(settings, queue) * this.#part[queue]));
  }

  /** Call this when the hub is available again. */
  #noteOverdue(): void {
    const now = this.#clock.monotonic();
    for (const queue of QUEUES) {
      const dueAt = this.#lastSend[queue] + this.#period(this.#settings.current(), queue);
      if (dueAt > LONG_AGO && dueAt <= now) this.#overdue.add(queue);
    }
  }

  /**
   * Starts a new period of the queue's frequency. After an outage all devices send at once, and would do so in each period: so
   * the next one takes a random part.
   */
  #begin(queue: QueueName, now: Duration): void {
    this.#lastSend[queue] = now;
    this.#part[queue] = this.#overdue.delete(queue) ? randomPart(this.#random) : 1;
    if (queue === 'High') this.#highDueBy = NEVER;
  }

  /** Sends the events that are in `queue` now, until all are settled or sending fails. */
  async #drain(queue: QueueName, signal: AbortSignal): Promise<void> {
    let left = this.#queues.waiting(queue).events;
    this.#begin(queue, this.#clock.monotonic());
    while (left > 0 && !signal.aborted) {
      const before = this.#queues.waiting(queue).events;
      if (!(await this.#sendSpaced(queue, signal))) return;
      if (this.#inFlight === undefined) left -= Math.max(1, before - this.#queues.waiting(queue).events);
    }
  }

  /** Spaced after failures as well: an immediate failure must not turn the loop into a busy loop. */
  async #sendSpaced(queue: QueueName, signal: AbortSignal): Promise<boolean> {
    const spaced = this.#clock.sleep(SPACING, signal);
    const mayContinue = await this.#sendOne(queue);
    await spaced;
    return mayContinue;
  }

  async #flushAll(signal: AbortSignal): Promise<void> {
    const until = milliseconds(Math.max(...this.#flushes.map((flush) => flush.until)));
    try {
      await this.#sendAll(until, signal);
    } finally {
      this.#endFlushes();
    }
  }

  #endFlushes(): void {
    for (const { done } of this.#flushes) done();
    this.#flushes = [];
  }

  #sendBeforeExit(): Promise<void> {
    return this.#sendAll(this.#deadline ?? milliseconds(0));
  }

  /** `listener` is called with the positions of events that the hub has acknowledged. */
  onDelivered(listener: (queue: QueueName, positions: ReadonlySet<number>) => void): void {
    this.#listeners.push(listener);
  }

  /** Sends until the queues are empty, sending fails, or `deadline` (monotonic clock) has passed. */
  async #sendAll(deadline: Duration, signal?: AbortSignal): Promise<void> {
    for (const queue of QUEUES) {
      while (this.#waiting(queue).events > 0 && (!this.#isHeld(queue) || this.#hasUrgent(queue))) {
        const late = this.#clock.monotonic() >= deadline;
        if (late || signal?.aborted || this.#backoff.left > 0 || this.#hub.status().state !== 'connected') return;
        const spaced = this.#clock.sleep(SPACING, signal);
        if (!(await this.#sendOne(queue))) {
          if (this.#isHeld(queue)) continue; // the other queue may still have a share of the budget
          return;
        }
        if (QUEUES.some((any) => this.#waiting(any).events > 0)) await spaced;
      }
    }
  }

  /** Sends one message: a pack with its next marking. @returns whether another one may be sent */
  async #sendOne(queue: QueueName): Promise<boolean> {
    if (this.#inFlight !== undefined && !fits(this.#inFlight, this.#settings.current())) {
      this.#settle(this.#inFlight.pack, 'kept'); // the twin has lowered the maximum message size since
    }
    if (this.#inFlight === undefined) {
      const { packed, isUsual, isUrgent } = this.#pack(queue);
      if (packed === 'empty') return false;
      if ('tooLarge' in packed) {
        this.#log.error({ queue: packed.tooLarge.queue }, 'Dropped an event that exceeds the maximum message size.');
        return this.#settle({ shares: [packed.tooLarge] }, 'tooLarge');
      }
      const unroutable = this.#unroutable(packed);
      if (unroutable !== undefined) return this.#settle(unroutable, 'notRouted');
      const markingsLeft = this.#markings.filter((marking) => packed.hasEventsFor(marking));
      this.#inFlight = { pack: packed, markingsLeft, isUsual, isUrgent, uses: usesOf(packed.shares) };
    }
    const { pack: inFlight, markingsLeft, isUrgent, uses } = this.#inFlight;
    const [marking, ...others] = markingsLeft;
    if (marking === undefined) return this.#settle(inFlight, 'delivered');
    const message = await this.#chains[marking].numbered(inFlight.message(marking));
    const units = unitsOf(sizeOf(message));
    if (units > this.#budget.left(queue, isUrgent)) {
      this.#settle(inFlight, 'kept'); // earlier attempts have used up the units
      return this.#hold(queue, units * markingsLeft.length);
    }
    this.#budget.spend(units, uses, isUrgent);
    const answer = await this.#hub.send(message);
    if (answer.status === 'retry' && answer.unanswered === undefined) this.#budget.refund(units, uses, isUrgent);
    if (answer.status === 'accepted') {
      this.#log.debug({ queue, events: inFlight.eventCount, sizeBytes: sizeOf(message) }, 'Sent a message.');
      this.#chains[marking].accepted();
      this.#accepted(sizeOf(message));
      this.#inFlight = { ...this.#inFlight, markingsLeft: others };
      return others.length > 0 ? true : this.#settle(inFlight, 'delivered');
    }
    this.#failed(answer.error);
    if (answer.status === 'refused') {
      this.#log.error(
        { err: answer.error, events: inFlight.eventCount },
        'The hub refused a message; its events are dropped.',
      );
      return this.#settle(inFlight, 'refused');
    }
    this.#retryLater(answer, inFlight);
    return false;
  }

  /**
   * The events of a pack that no message may contain, queued before `messageRouting` was changed; `undefined` if there is
   * none. They are settled alone: the others are packed again without them.
   */
  #unroutable({ shares }: Pack): { readonly shares: readonly Share[] } | undefined {
    const isUnroutable = (name: string) =>
      !this.#markings.some((marking) => mayContain(marking, { extension: this.#extensions.has(name) }));
    const positionsOf = ({ events }: Share) =>
      events.filter(({ name }) => isUnroutable(name)).map(({ position }) => position);
    const unroutable = shares.map((share) => ({ ...share, positions: new Set(positionsOf(share)) }));
    const count = unroutable.reduce((all, { positions }) => all + positions.size, 0);
    if (count === 0) return undefined;
    this.#log.warn({ events: count }, 'Dropped events that messages for the security service may not contain.');
    return { shares: unroutable };
  }

  /** What `Suspicion` wants to be tried next, unless its queue is held. */
  #inQuestion({ trials }: { trials: boolean }) {
    const next = this.#suspicion.next({ trials });
    return next === undefined || this.#isHeld(next.queue) ? undefined : next;
  }

  /** Packs from `queue`, or what is in question, unless that has left its queue. */
  #pack(queue: QueueName): Pick<InFlight, 'isUsual' | 'isUrgent'> & { readonly packed: PackResult } {
    const inQuestion =
      this.#inQuestion({ trials: this.#deadline === undefined }) ??
      (this.#waiting(queue).events === 0 ? this.#suspicion.nextPassedOver(queue) : undefined);
    const first = inQuestion?.queue ?? queue;
    const isUrgent = inQuestion === undefined && this.#isHeld(first) && this.#hasUrgent(first);
    const settings = this.#settings.current();
    let isAffordable = true;
    const exceeded = (bytes: number) => {
      isAffordable = false;
      this.#hold(first, unitsOf(bytes) * this.#markings.length);
    };
    const limits = {
      hubResourceId: settings.hubResourceId,
      extensions: this.#extensions,
      // If the units pay for no message at all, everything waits.
      maxMessageSizeInBytes: Math.min(
        settings.maxMessageSizeInBytes,
        Math.max(UNIT_BYTES, this.bytesPerDay(first) * LARGEST_PART),
      ),
      usualBytes: usualBytes(settings),
      affordable: { bytes: this.#bytesOf(this.#budget.left(first, isUrgent)), exceeded },
    };
    if (isUrgent) return { packed: this.#packUrgent(limits), isUsual: true, isUrgent };
    const { accepts, from } = this.#fair.ofLow();
    const usual = {
      leftOut: this.#suspicion.leftOut,
      ...(accepts === undefined ? {} : { accepts: { Low: accepts } }),
      ...(first === 'Low' ? { from } : {}),
    };
    const packed = pack(this.#queues, first, this.#sender, limits, inQuestion?.selection ?? usual);
    if (first === 'Low' && inQuestion === undefined && this.#fair.packedLow(packed === 'empty' && isAffordable))
      this.#fullRestsUntil = milliseconds(this.#clock.monotonic() + FULL_REST);
    if (packed === 'empty' && inQuestion !== undefined && isAffordable) {
      this.#suspicion.selectionGone(inQuestion);
      return this.#pack(queue); // the events after it are due
    }
    return { packed, isUsual: inQuestion === undefined, isUrgent };
  }

  /** Packs urgent events of the High queue for which the reserve has units. */
  #packUrgent(limits: Parameters<typeof pack>[3]): PackResult {
    const { leftOut } = this.#suspicion;
    for (const turn of TURNS) {
      const selection = { leftOut, only: URGENT, accepts: { High: this.#fair.inTurn(turn) } };
      const packed = pack(this.#queues, 'High', this.#sender, limits, selection);
      if (packed !== 'empty') return packed;
      if (this.#urgentRestsUntil > this.#clock.monotonic()) return 'empty'; // the first one is larger than what is left
    }
    if (this.#fair.sawUrgent) this.#restUrgent();
    else {
      this.#isUrgent = false;
      this.#budget.holdAlerts(false);
    }
    return 'empty';
  }

  /** Pauses attempts to send urgent events, since the reserve can't pay for those that wait. */
  #restUrgent(): void {
    this.#urgentRestsUntil = milliseconds(this.#clock.monotonic() + URGENT_CHECK_INTERVAL);
    this.#highDueBy = this.#urgentRestsUntil;
    this.#budget.holdAlerts(true);
  }

  /** Whether messages of a queue wait for units. */
  #isHeld(queue: QueueName): boolean {
    return this.#budget.isHeld(queue);
  }

  /** Whether a queue holds an event that may use the reserve of the budget now. */
  #hasUrgent(queue: QueueName): boolean {
    return queue === 'High' && this.#isUrgent && this.#clock.monotonic() >= this.#urgentRestsUntil;
  }

  /** @param needed units of the message that exceeds what is left */
  #hold(queue: QueueName, needed: number): false {
    if (queue === 'High' && this.#isHeld(queue)) {
      this.#restUrgent(); // the urgent events exceed the reserve, too
      return false;
    }
    this.#budget.hold(queue, needed);
    this.#lastSend[queue] = LONG_AGO; // still due
    return false;
  }

  /** Events and bytes waiting, without skipped events, and the number of skipped events. */
  #waiting(queue: QueueName): { events: number; bytes: number; passedOver: number } {
    const { events, bytes } = this.#queues.waiting(queue);
    const passedOver = [...this.#suspicion.leftOut[queue].values()];
    return {
      events: Math.max(0, events - passedOver.length),
      bytes: bytes - passedOver.reduce((all, size) => all + size, 0),
      passedOver: passedOver.length,
    };
  }

  #settle(pack: { readonly shares: readonly Share[] }, outcome: 'delivered' | 'kept' | DropReason): true {
    this.#inFlight = undefined;
    if (outcome !== 'kept') this.#suspicion.gone(pack);
    if (outcome === 'delivered') this.#delivered += pack.shares.reduce((all, { positions }) => all + positions.size, 0);
    for (const { queue, positions } of pack.shares) {
      this.#queues.settle(queue, outcome, positions);
      if (outcome === 'delivered') for (const listener of this.#listeners) listener(queue, positions);
    }
    this.#noted();
    return true;
  }

  #accepted(sizeBytes: number): void {
    const { sent, under4KB, failed } = this.#sent;
    const small = sizeBytes < UNIT_BYTES ? 1 : 0;
    this.#sent = { sent: sent + 1, under4KB: under4KB + small, failed, lastSentAt: this.#clock.now() };
    this.#backoff.succeeded();
    this.#suspicion.accepted();
  }

  #failed(error: AgentError): void {
    this.#sent = { ...this.#sent, failed: this.#sent.failed + 1, lastError: error };
    this.#noted();
  }

  #retryLater(answer: Retry, inFlight: Pack): void {
    const wait = this.#backoff.failed(answer);
    this.#log.debug(
      { retryCause: answer.retryCause, waitMs: wait, err: answer.error },
      'Could not send a message; will try again.',
    );
    if (answer.unanswered === undefined) return;
    const verdict = this.#suspicion.unanswered(inFlight);
    if (verdict === 'resend') return;
    this.#settle(inFlight, verdict === 'give up' ? 'refused' : 'kept');
    if (verdict === 'give up') logError(this.#log, unsendable(inFlight));
    if (verdict === 'repack') for (const { queue } of inFlight.shares) this.#lastSend[queue] = LONG_AGO; // still due
  }
}

const NOBODY: ReadonlySet<string> = new Set();

function unsendable({ shares: [share] }: Pack): AgentError {
  const [event] = share?.events ?? [];
  const id = /"Id":"([0-9a-f-]{36})"/i.exec(event?.json.slice(0, 100) ?? '')?.[1];
  const what = `the hub closed the connection each time the event ${event?.name} ${id} was sent, and accepted others`;
  return new AgentError(
    'EVENT_UNSENDABLE',
    what,
    'Look for a proxy or firewall between the device and the hub that inspects messages.',
  );
}

const fits = ({ pack: { message }, markingsLeft }: InFlight, { maxMessageSizeInBytes }: Settings): boolean =>
  markingsLeft.every((marking) => sizeOf({ ...message(marking), evidence: LONGEST_EVIDENCE }) <= maxMessageSizeInBytes);

/**
 * The size of a message with several events. What is being sent can't be evicted, and both queues share the cache: so a message
 * takes a quarter of it at most, in whole units, unless one event is larger.
 */
const usualBytes = ({ maxMessageSizeInBytes, maxLocalCacheSizeInBytes }: Settings): number =>
  Math.min(maxMessageSizeInBytes, Math.max(1, Math.floor(maxLocalCacheSizeInBytes / 4 / UNIT_BYTES)) * UNIT_BYTES);

/**
 * The size at which a queue is sent before it is due. If the settings ask for messages that the cache can't hold, which is a conflict,
 * gets what is due only.
 */
const fullAt = (settings: Settings): number => {
  const { maxMessageSizeInBytes, maxLocalCacheSizeInBytes } = settings;
  return maxLocalCacheSizeInBytes < maxMessageSizeInBytes ? maxMessageSizeInBytes : usualBytes(settings);
};

const frequency = (settings: Settings, queue: QueueName): Duration =>
  queue === 'High' ? settings.highPriorityMessageFrequency : settings.lowPriorityMessageFrequency;
