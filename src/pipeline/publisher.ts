import { Alarm } from '../base/alarm.ts';
import type { Clock } from '../base/clock.ts';
import type { DropReason } from '../base/counters.ts';
import { type Duration, hours, milliseconds, minutes, seconds } from '../base/duration.ts';
import { AgentError } from '../base/errors.ts';
import { type Logger, logError } from '../base/log.ts';
import { keepGoing } from '../base/loop.ts';
import type { Service } from '../base/service.ts';
import { QUEUES, type QueueName } from '../contract/event.ts';
import type { HubClient, Retry } from '../contract/hub.ts';
import { type Marking, sizeOf } from '../contract/message.ts';
import type { Settings, SettingsReader } from '../contract/settings.ts';
import { type Budget, NO_BUDGET, UNIT_BYTES, unitsOf } from './message-budget.ts';
import { type Pack, pack, type Sender, type Share } from './pack.ts';
import type { EventQueues } from './queue.ts';
import { SendBackoff } from './send-backoff.ts';
import { Suspicion } from './suspicion.ts';

/** A backlog drains at no more than two messages a second (contract §6). */
const SPACING = milliseconds(500);
/** How long SIGTERM leaves for sending (contract §6). */
const FAREWELL = seconds(10);
/** Where nothing else waits, what is passed over is tried so often at most. */
const PASSED_OVER_EVERY = hours(1);
/** How often it is looked whether a new day has come while messages are held. */
const HELD_FOR = minutes(1);
/** What may take the last units of the budget. */
const URGENT: ReadonlySet<string> = new Set(['SecurityAlert', 'Diagnostic']);
const NEVER = milliseconds(Number.POSITIVE_INFINITY);
const LONG_AGO = milliseconds(Number.NEGATIVE_INFINITY);

/** For whom messages are marked; a local setting. */
export type Routing = Marking | 'both';

type PublishedQueues = Pick<EventQueues, 'onPut' | 'waiting' | 'take' | 'settle'>;

/** A pack, and the ways in which it is still to be sent. */
interface InHand {
  readonly pack: Pack;
  readonly markingsLeft: readonly Marking[];
  /** Made as its queue's turn came, and not to find an event that ends the connection. */
  readonly isUsual: boolean;
}

/** What a flush has come to. */
export interface Flushed {
  readonly messages: number;
  readonly events: number;
  /** Events that still wait. */
  readonly left: number;
}

/** What has been sent since the agent started. */
export interface Sent {
  readonly sent: number;
  readonly under4KB: number;
  readonly failed: number;
  readonly lastSentAt?: Date;
  readonly lastError?: AgentError;
}

/**
 * Sends what the queues hold, one message at a time, each until the hub has taken it.
 *
 * A message goes when its queue's frequency has passed, or as soon as the queue could fill one. While the hub is out of
 * reach nothing is tried: the hub client says when it is back.
 */
export class Publisher implements Service {
  readonly name = 'publisher';
  readonly #queues: PublishedQueues;
  readonly #hub: HubClient;
  readonly #settings: SettingsReader;
  readonly #sender: Sender;
  readonly #markings: readonly Marking[];
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #alarm = new Alarm();
  readonly #stop = new AbortController();
  readonly #backoff: SendBackoff;
  readonly #suspicion = new Suspicion();
  readonly #noted: () => void;
  readonly #budget: Budget;
  readonly #lastSend: Record<QueueName, Duration>;
  /** When what waits in High must go at the latest, where that is before its frequency has passed. */
  #highDueBy = NEVER;
  /** Something waits in High that may take the last units of the budget. */
  #isUrgent = false;
  #inHand: InHand | undefined;
  #deadline: Duration | undefined;
  #sent: Sent = { sent: 0, under4KB: 0, failed: 0 };
  #delivered = 0;
  /** Those who wait until all that can be sent now has been, and for how long. */
  #flushes: { readonly until: Duration; readonly done: () => void }[] = [];
  #loop: Promise<void> = Promise.resolve();

  constructor(options: {
    queues: PublishedQueues;
    hub: HubClient;
    settings: SettingsReader;
    sender: Sender;
    routing: Routing;
    clock: Clock;
    log: Logger;
    random?: () => number;
    /** Told after every attempt, when `sent` has changed. */
    noted?: () => void;
    /** Absent: without limit. */
    budget?: Budget;
  }) {
    this.#queues = options.queues;
    this.#hub = options.hub;
    this.#settings = options.settings;
    this.#sender = options.sender;
    this.#markings = options.routing === 'both' ? ['security', 'telemetry'] : [options.routing];
    this.#clock = options.clock;
    this.#log = options.log;
    this.#backoff = new SendBackoff(this.#clock, options.random);
    this.#noted = options.noted ?? (() => {});
    this.#budget = options.budget ?? NO_BUDGET;
    const now = this.#clock.monotonic();
    this.#lastSend = { High: now, Low: now };
    this.#queues.onPut(() => this.#alarm.ring());
    this.#settings.onChange(() => this.#alarm.ring());
    this.#hub.on('connected', () => {
      this.#backoff.reconnected();
      this.#alarm.ring();
    });
  }

  async start(): Promise<void> {
    this.#loop = this.#run();
  }

  /** Sends what fits into ten seconds; the rest stays on disk. */
  async stop(): Promise<void> {
    this.#deadline ??= milliseconds(this.#clock.monotonic() + FAREWELL);
    this.#stop.abort();
    await this.#clock.within(milliseconds(FAREWELL + 1_000), 'the last message', this.#loop).catch((error) => {
      this.#log.warn({ err: error }, 'Left a message unanswered; it will be sent again.');
    });
  }

  /**
   * Sends what waits now, whatever the frequencies, until nothing is left, the hub takes no more, or `limit` has passed.
   * A message that is on its way by then may still arrive; its events count as left.
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
   * Sends what waits in High within `limit`, however long the frequency is. Alerts and Diagnostic events in it go out even
   * when the rest of High is held, as long as any units are left.
   */
  sendHighWithin(limit: Duration): void {
    this.#isUrgent = true;
    this.#highDueBy = milliseconds(Math.min(this.#highDueBy, this.#clock.monotonic() + limit));
    this.#alarm.ring();
  }

  sent(): Sent {
    return this.#sent;
  }

  /** How many bytes of messages the budget allows a queue in a day. */
  bytesPerDay(queue: QueueName): number {
    return this.#bytesOf(this.#budget.most(queue));
  }

  /** What so many units pay for, when each message goes out with every marking. */
  #bytesOf(units: number): number {
    return Math.floor(units / this.#markings.length) * UNIT_BYTES;
  }

  /** When each queue's turn comes, whether anything waits then or not; nothing without a connection. */
  next(): Partial<Readonly<Record<QueueName, Date>>> {
    if (this.#hub.status().state !== 'connected') return {};
    const settings = this.#settings.current();
    const now = this.#clock.monotonic();
    const inTime = (queue: QueueName) => {
      const isFull = this.#waiting(queue).bytes >= settings.maxMessageSizeInBytes;
      const left = isFull ? 0 : this.#lastSend[queue] + frequency(settings, queue) - now;
      return new Date(this.#clock.now().getTime() + Math.max(0, left, this.#backoff.left));
    };
    return { High: inTime('High'), Low: inTime('Low') };
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    await keepGoing(() => this.#turn(signal), { signal, clock: this.#clock, log: this.#log });
    await this.#sayFarewell();
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
      this.#giveBack();
      throw error;
    }
  }

  /** After a defect: what stayed reserved could never be taken again. It may go out twice, it doesn't stay for ever. */
  #giveBack(): void {
    this.#inHand = undefined;
    for (const queue of QUEUES) {
      try {
        this.#queues.settle(queue, 'kept');
      } catch {
        // of this queue nothing was reserved
      }
    }
  }

  /** The queue whose turn it is, perhaps for one message only, or how long until one's turn comes. */
  #next(): { queue?: QueueName; wait: Duration; once?: boolean } {
    const settings = this.#settings.current();
    const now = this.#clock.monotonic();
    if (this.#hub.status().state !== 'connected') return { wait: minutes(1) };
    const { left } = this.#backoff;
    if (left > 0) return { wait: milliseconds(Math.min(left, hours(1))) };
    const begun = this.#inHand?.pack.shares[0];
    if (begun !== undefined) return { queue: begun.queue, wait: milliseconds(0), once: !this.#inHand?.isUsual };
    const inQuestion = this.#suspicion.next({ trials: true });
    if (inQuestion !== undefined && !this.#isHeld(inQuestion.queue))
      return { queue: inQuestion.queue, wait: milliseconds(0), once: true };
    let wait: number = hours(1);
    for (const queue of QUEUES) {
      const { events, bytes, passedOver } = this.#waiting(queue);
      const usual = frequency(settings, queue);
      const interval = events === 0 && passedOver > 0 ? Math.max(usual, PASSED_OVER_EVERY) : usual;
      const dueAt = Math.min(this.#lastSend[queue] + interval, queue === 'High' ? this.#highDueBy : NEVER);
      const isDue = dueAt <= now;
      if (events + passedOver > 0 && this.#isHeld(queue) && !(isDue && this.#hasUrgent(queue))) {
        wait = Math.min(wait, HELD_FOR);
        continue;
      }
      if (events > 0 && bytes >= settings.maxMessageSizeInBytes) return { queue, wait: milliseconds(0) };
      if (events + passedOver > 0 && isDue) return { queue, wait: milliseconds(0) };
      if (isDue) this.#begin(queue, now);
      wait = Math.min(wait, Math.max(0, (isDue ? now + interval : dueAt) - now));
    }
    return { wait: milliseconds(wait) };
  }

  /** A period of the queue's frequency. */
  #begin(queue: QueueName, now: Duration): void {
    this.#lastSend[queue] = now;
    if (queue === 'High') this.#highDueBy = NEVER;
  }

  /** Sends until what waits in `queue` now is gone, or until something keeps the hub from taking it. */
  async #drain(queue: QueueName, signal: AbortSignal): Promise<void> {
    let left = this.#queues.waiting(queue).events;
    this.#begin(queue, this.#clock.monotonic());
    while (left > 0 && !signal.aborted) {
      const before = this.#queues.waiting(queue).events;
      if (!(await this.#sendSpaced(queue, signal))) return;
      if (this.#inHand === undefined) left -= Math.max(1, before - this.#queues.waiting(queue).events);
    }
  }

  /** Also after a failure, so that nothing that goes wrong at once makes a loop spin. */
  async #sendSpaced(queue: QueueName, signal: AbortSignal): Promise<boolean> {
    const spaced = this.#clock.sleep(SPACING, signal);
    const goOn = await this.#sendOne(queue);
    await spaced;
    return goOn;
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

  #sayFarewell(): Promise<void> {
    return this.#sendAll(this.#deadline ?? milliseconds(0));
  }

  /** Until nothing waits, something keeps the hub from taking more, or it is late. */
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

  /** Sends one message, of a pack that goes out in two ways the first or the second. @returns whether to go on */
  async #sendOne(queue: QueueName): Promise<boolean> {
    if (this.#inHand !== undefined && !fits(this.#inHand, this.#settings.current())) {
      this.#settle(this.#inHand.pack, 'kept'); // the twin has made messages smaller meanwhile
    }
    if (this.#inHand === undefined) {
      const { packed, isUsual } = this.#pack(queue);
      if (packed === 'empty') return false;
      if ('tooLarge' in packed) {
        this.#log.error({ queue: packed.tooLarge.queue }, 'Dropped an event that no message can hold.');
        return this.#settle({ shares: [packed.tooLarge] }, 'tooLarge');
      }
      this.#inHand = { pack: packed, markingsLeft: this.#markings, isUsual };
    }
    const { pack: inHand, markingsLeft } = this.#inHand;
    const [marking, ...others] = markingsLeft;
    if (marking === undefined) return this.#settle(inHand, 'delivered');
    const message = inHand.message(marking);
    const units = unitsOf(sizeOf(message));
    if (units > this.#budget.left(queue, this.#hasUrgent(queue))) {
      this.#settle(inHand, 'kept'); // tried too often
      return this.#hold(queue);
    }
    this.#budget.spend(units);
    const answer = await this.#hub.send(message);
    if (answer.status === 'retry' && answer.unanswered === undefined) this.#budget.refund(units);
    if (answer.status === 'accepted') {
      this.#log.debug({ queue, events: inHand.eventCount, sizeBytes: sizeOf(message) }, 'Sent a message.');
      this.#accepted(sizeOf(message));
      this.#inHand = { ...this.#inHand, markingsLeft: others };
      return others.length > 0 ? true : this.#settle(inHand, 'delivered');
    }
    this.#failed(answer.error);
    if (answer.status === 'refused') {
      this.#log.error(
        { err: answer.error, events: inHand.eventCount },
        'The hub refused a message; its events are lost.',
      );
      return this.#settle(inHand, 'refused');
    }
    this.#retryLater(answer, inHand);
    return false;
  }

  /** As usual from `queue`, unless there is a suspicion. */
  #pack(queue: QueueName) {
    const inQuestion =
      this.#suspicion.next({ trials: this.#deadline === undefined }) ??
      (this.#waiting(queue).events === 0 ? this.#suspicion.nextPassedOver(queue) : undefined);
    const first = inQuestion?.queue ?? queue;
    const isUrgent = this.#isHeld(first) && this.#hasUrgent(first);
    const usual = { leftOut: this.#suspicion.leftOut, ...(isUrgent ? { only: URGENT } : {}) };
    const settings = this.#settings.current();
    const limits = {
      hubResourceId: settings.hubResourceId,
      maxMessageSizeInBytes: Math.min(settings.maxMessageSizeInBytes, this.bytesPerDay(first)),
      affordable: { bytes: this.#bytesOf(this.#budget.left(first, isUrgent)), exceeded: () => this.#hold(first) },
    };
    const packed = pack(this.#queues, first, this.#sender, limits, inQuestion?.selection ?? usual);
    if (packed === 'empty' && inQuestion !== undefined) this.#suspicion.nothingLeft(inQuestion);
    if (packed === 'empty' && isUrgent) this.#isUrgent = false;
    return { packed, isUsual: inQuestion === undefined };
  }

  /** Whether messages of a queue wait for the next day's budget. */
  #isHeld(queue: QueueName): boolean {
    return this.#budget.isHeld(queue);
  }

  /** Whether there is something in a queue that may take the last units of the budget. */
  #hasUrgent(queue: QueueName): boolean {
    return queue === 'High' && this.#isUrgent && this.#budget.left(queue, true) > 0;
  }

  #hold(queue: QueueName): false {
    const wasHeld = this.#isHeld(queue);
    this.#budget.hold(queue);
    if (queue === 'Low' || !this.#isUrgent) return false;
    if (wasHeld)
      this.#isUrgent = false; // not even what is urgent fits
    else this.#highDueBy = this.#clock.monotonic();
    return false;
  }

  /** What waits to be sent as usual, and how many events are passed over. */
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
    this.#inHand = undefined;
    if (outcome !== 'kept') this.#suspicion.gone(pack);
    if (outcome === 'delivered') this.#delivered += pack.shares.reduce((all, { positions }) => all + positions.size, 0);
    for (const { queue, positions } of pack.shares) this.#queues.settle(queue, outcome, positions);
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

  #retryLater(answer: Retry, inHand: Pack): void {
    const wait = this.#backoff.failed(answer);
    this.#log.debug(
      { because: answer.because, waitMs: wait, err: answer.error },
      'Could not send a message; will try again.',
    );
    if (answer.unanswered === undefined) return;
    const verdict = this.#suspicion.unanswered(inHand);
    if (verdict === 'again') return;
    this.#settle(inHand, verdict === 'give up' ? 'refused' : 'kept');
    if (verdict === 'give up') logError(this.#log, unsendable(inHand));
    if (verdict === 'anew') for (const { queue } of inHand.shares) this.#lastSend[queue] = LONG_AGO; // still due
  }
}

function unsendable({ shares: [share] }: Pack): AgentError {
  const [event] = share?.events ?? [];
  const id = /"Id":"([0-9a-f-]{36})"/i.exec(event?.json.slice(0, 100) ?? '')?.[1];
  const what = `the hub ended the connection whenever it was sent the event ${event?.name} ${id}, and took others`;
  return new AgentError(
    'EVENT_UNSENDABLE',
    what,
    'Look for what lies between the device and the hub and reads messages.',
  );
}

const fits = ({ pack: { message }, markingsLeft }: InHand, { maxMessageSizeInBytes }: Settings): boolean =>
  markingsLeft.every((marking) => sizeOf(message(marking)) <= maxMessageSizeInBytes);

const frequency = (settings: Settings, queue: QueueName): Duration =>
  queue === 'High' ? settings.highPriorityMessageFrequency : settings.lowPriorityMessageFrequency;
