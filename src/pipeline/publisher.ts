import { Alarm } from '../base/alarm.ts';
import { type Backoff, fullJitter } from '../base/backoff.ts';
import type { Clock } from '../base/clock.ts';
import type { DropReason } from '../base/counters.ts';
import { type Duration, milliseconds, minutes, seconds } from '../base/duration.ts';
import type { AgentError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { keepGoing } from '../base/loop.ts';
import type { Service } from '../base/service.ts';
import { QUEUES, type QueueName } from '../contract/event.ts';
import type { Answer, HubClient, RetryCause } from '../contract/hub.ts';
import { type Marking, sizeOf } from '../contract/message.ts';
import type { Settings, SettingsReader } from '../contract/settings.ts';
import { type Pack, pack, type Sender } from './pack.ts';
import type { EventQueues } from './queue.ts';

/** A backlog drains at no more than two messages a second (contract §6). */
const SPACING = milliseconds(500);
/** How long SIGTERM leaves for sending (contract §6). */
const FAREWELL = seconds(10);
const FOUR_KB = 4096;

/** For whom messages are marked; a local setting. */
export type Routing = Marking | 'both';

type PublishedQueues = Pick<EventQueues, 'onPut' | 'waiting' | 'take' | 'settle'>;

/** A pack, and the ways in which it is still to be sent. */
interface InHand {
  readonly pack: Pack;
  readonly markingsLeft: readonly Marking[];
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
  readonly #backoffs: Readonly<Record<RetryCause, Backoff>>;
  readonly #lastSend: Record<QueueName, Duration>;
  #inHand: InHand | undefined;
  #notBefore = milliseconds(0);
  #waitsFor: RetryCause | undefined;
  #deadline: Duration | undefined;
  #sent: Sent = { sent: 0, under4KB: 0, failed: 0 };
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
  }) {
    this.#queues = options.queues;
    this.#hub = options.hub;
    this.#settings = options.settings;
    this.#sender = options.sender;
    this.#markings = options.routing === 'both' ? ['security', 'telemetry'] : [options.routing];
    this.#clock = options.clock;
    this.#log = options.log;
    const jitter = (atLeast: Duration, first: Duration, most: Duration) =>
      fullJitter({ atLeast, first, most }, options.random);
    this.#backoffs = {
      network: jitter(seconds(10), seconds(20), minutes(5)), // at most 6 attempts a minute
      throttled: jitter(seconds(1), seconds(10), minutes(10)),
      credentials: jitter(minutes(10), minutes(10), minutes(10)),
    };
    const now = this.#clock.monotonic();
    this.#lastSend = { High: now, Low: now };
    this.#queues.onPut(() => this.#alarm.ring());
    this.#settings.onChange(() => this.#alarm.ring());
    this.#hub.on('connected', () => {
      // A hub that is too busy isn't helped by a new connection.
      if (this.#waitsFor !== 'throttled') this.#notBefore = milliseconds(0);
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

  sent(): Sent {
    return this.#sent;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    await keepGoing(() => this.#turn(signal), { signal, clock: this.#clock, log: this.#log });
    await this.#sayFarewell();
  }

  async #turn(signal: AbortSignal): Promise<void> {
    try {
      const { queue, wait } = this.#next();
      if (queue === undefined) await this.#alarm.sleep(this.#clock, wait, signal);
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

  /** The queue whose turn it is, or how long until one's turn comes. */
  #next(): { queue?: QueueName; wait: Duration } {
    const settings = this.#settings.current();
    const now = this.#clock.monotonic();
    if (this.#hub.status().state !== 'connected') return { wait: minutes(1) };
    if (this.#notBefore > now) return { wait: milliseconds(this.#notBefore - now) };
    if (this.#inHand !== undefined) return { queue: this.#inHand.pack.from[0] ?? 'High', wait: milliseconds(0) };
    let wait: number = minutes(60);
    for (const queue of QUEUES) {
      const { events, bytes } = this.#queues.waiting(queue);
      const due = this.#lastSend[queue] + frequency(settings, queue);
      if (events > 0 && (bytes >= settings.maxMessageSizeInBytes || due <= now))
        return { queue, wait: milliseconds(0) };
      if (events === 0 && due <= now) this.#lastSend[queue] = now;
      wait = Math.min(wait, Math.max(0, this.#lastSend[queue] + frequency(settings, queue) - now));
    }
    return { wait: milliseconds(wait) };
  }

  /** Sends until what waits in `queue` now is gone, or until something keeps the hub from taking it. */
  async #drain(queue: QueueName, signal: AbortSignal): Promise<void> {
    let left = this.#queues.waiting(queue).events;
    this.#lastSend[queue] = this.#clock.monotonic();
    while (left > 0 && !signal.aborted) {
      const before = this.#queues.waiting(queue).events;
      const spaced = this.#clock.sleep(SPACING, signal);
      const goOn = await this.#sendOne(queue);
      await spaced; // also after a failure, so that nothing that goes wrong at once makes this loop spin
      if (!goOn) return;
      if (this.#inHand === undefined) left -= Math.max(1, before - this.#queues.waiting(queue).events);
    }
  }

  async #sayFarewell(): Promise<void> {
    const deadline = this.#deadline ?? milliseconds(0);
    for (const queue of QUEUES) {
      while (this.#queues.waiting(queue).events > 0) {
        const now = this.#clock.monotonic();
        if (now >= deadline || now < this.#notBefore || this.#hub.status().state !== 'connected') return;
        const spaced = this.#clock.sleep(SPACING);
        if (!(await this.#sendOne(queue))) return;
        if (QUEUES.some((any) => this.#queues.waiting(any).events > 0)) await spaced;
      }
    }
  }

  /** Sends one message, of a pack that goes out in two ways the first or the second. @returns whether to go on */
  async #sendOne(queue: QueueName): Promise<boolean> {
    if (this.#inHand !== undefined && !fits(this.#inHand, this.#settings.current())) {
      this.#settle(this.#inHand.pack, 'kept'); // the twin has made messages smaller meanwhile
    }
    if (this.#inHand === undefined) {
      const packed = pack(this.#queues, queue, this.#sender, this.#settings.current());
      if (packed === 'empty') return false;
      if (packed === 'tooLarge') {
        this.#queues.settle(queue, 'tooLarge');
        this.#log.error({ queue }, 'Dropped an event that no message can hold.');
        return true;
      }
      this.#inHand = { pack: packed, markingsLeft: this.#markings };
    }
    const { pack: inHand, markingsLeft } = this.#inHand;
    const [marking, ...others] = markingsLeft;
    if (marking === undefined) return this.#settle(inHand, 'delivered');
    const message = inHand.message(marking);
    const answer = await this.#hub.send(message);
    if (answer.status === 'accepted') {
      this.#note(sizeOf(message));
      this.#log.debug({ queue, events: inHand.eventCount, sizeBytes: sizeOf(message) }, 'Sent a message.');
      this.#inHand = { pack: inHand, markingsLeft: others };
      return others.length > 0 ? true : this.#settle(inHand, 'delivered');
    }
    this.#sent = { ...this.#sent, failed: this.#sent.failed + 1, lastError: answer.error };
    if (answer.status === 'refused') {
      this.#log.error(
        { err: answer.error, events: inHand.eventCount },
        'The hub refused a message; its events are lost.',
      );
      return this.#settle(inHand, 'refused');
    }
    this.#waitAfter(answer);
    return false;
  }

  #settle({ from }: Pack, outcome: 'delivered' | 'kept' | DropReason): true {
    this.#inHand = undefined;
    for (const queue of from) this.#queues.settle(queue, outcome);
    return true;
  }

  #note(sizeBytes: number): void {
    const { sent, under4KB, failed } = this.#sent;
    const small = sizeBytes < FOUR_KB ? 1 : 0;
    this.#sent = { sent: sent + 1, under4KB: under4KB + small, failed, lastSentAt: this.#clock.now() };
    for (const backoff of Object.values(this.#backoffs)) backoff.reset();
  }

  #waitAfter({ because, after, error }: Answer<void> & { status: 'retry' }): void {
    const wait = milliseconds(Math.max(this.#backoffs[because].next(), after ?? 0));
    this.#notBefore = milliseconds(this.#clock.monotonic() + wait);
    this.#waitsFor = because;
    this.#log.debug({ because, waitMs: wait, err: error }, 'Could not send a message; will try again.');
  }
}

const fits = ({ pack: { message }, markingsLeft }: InHand, { maxMessageSizeInBytes }: Settings): boolean =>
  markingsLeft.every((marking) => sizeOf(message(marking)) <= maxMessageSizeInBytes);

const frequency = (settings: Settings, queue: QueueName): Duration =>
  queue === 'High' ? settings.highPriorityMessageFrequency : settings.lowPriorityMessageFrequency;
