import type { Clock } from '../../core/base/clock.ts';
import { droppedIn, type Totals } from '../../core/base/counters.ts';
import { minutes } from '../../core/base/duration.ts';
import type { Logger } from '../../core/base/log.ts';
import { keepGoing } from '../../core/base/loop.ts';
import type { Service } from '../../core/base/service.ts';
import { isCount } from '../../core/base/values.ts';
import { QUEUES, type QueueName } from '../../core/contract/event.ts';
import type { MessageStatistics, QueueStatistics, Sources } from '../../core/contract/sources.ts';
import { readStateJson } from '../state/read-state.ts';
import type { StateFiles } from '../state/state-files.ts';

interface Reported {
  queues: Record<QueueName, { collected: number; droppedBy: Record<string, number> }>;
  /** Messages of earlier runs of the agent that are in no report yet. */
  messages: MessageStatistics;
}

/** Interval of the retries after message counts could not be saved. */
const NOTE_EVERY = minutes(1);

const NOTHING_SENT: MessageStatistics = { sent: 0, under4KB: 0, failed: 0 };

/**
 * The differences that DroppedEventsStatistics and MessageStatistics report: the counts since the last report, even if
 * the agent was restarted in between. The last reported counts are kept in a small file beside the queues.
 *
 * Not reported are: after kill -9, messages of the last one or two seconds, or of `store.syncEvery`; and the counts of a
 * report that was made but not stored (a full disk or queue, or kill -9 in between), because requesting a report starts the
 * next period. Collected and dropped events are never missed: the queues' accounts and the reported properties have them.
 */
export class Statistics {
  readonly #file: string;
  readonly #totals: (queue: QueueName) => Totals;
  readonly #sent: () => MessageStatistics;
  readonly #log: Logger;
  readonly #files: StateFiles;
  readonly #reported: Reported;
  #sentBefore = NOTHING_SENT;
  #cannotWrite = false;

  constructor(options: {
    file: string;
    totals: (queue: QueueName) => Totals;
    sent: () => MessageStatistics;
    log: Logger;
    files: StateFiles;
  }) {
    this.#files = options.files;
    this.#file = options.file;
    this.#totals = options.totals;
    this.#sent = options.sent;
    this.#log = options.log;
    this.#reported = read(options.file);
  }

  /** The source of the two statistics collectors. Each read starts the next period. */
  readonly source: Sources['statistics'] = {
    queues: async () => QUEUES.map((queue) => this.#queue(queue)),
    messages: async () => this.#messages(),
  };

  /**
   * Saves the messages sent since the last report, for the agent's next run. Call this after each attempt to send.
   */
  save(): void {
    const now = this.#sent();
    const { sent, under4KB, failed } = subtract(now, this.#sentBefore);
    if (sent === 0 && failed === 0 && !this.#cannotWrite) return;
    this.#reported.messages = add(this.#reported.messages, { sent, under4KB, failed });
    this.#sentBefore = now;
    this.#write();
  }

  /** Retries a failed save: once a minute, and at the end. */
  keeper(clock: Clock): Service {
    const stop = new AbortController();
    const { signal } = stop;
    let loop = Promise.resolve();
    const turn = async () => {
      await clock.sleep(NOTE_EVERY, signal);
      this.save();
    };
    return {
      name: 'statistics',
      start: async () => {
        loop = keepGoing(turn, { signal, clock, log: this.#log });
      },
      stop: async () => {
        stop.abort();
        await loop;
        this.save(); // even if it was never started
      },
    };
  }

  #queue(queue: QueueName): QueueStatistics {
    const totals = this.#totals(queue);
    const last = this.#reported.queues[queue];
    const droppedBy: Record<string, number> = {};
    for (const [reason, count] of Object.entries(totals.dropped)) {
      const since = count - (last.droppedBy[reason] ?? 0);
      if (since > 0) droppedBy[reason] = since;
    }
    const collected = Math.max(0, totals.collected - last.collected);
    this.#reported.queues[queue] = { collected: totals.collected, droppedBy: { ...totals.dropped } };
    this.#write();
    const dropped = droppedIn({ ...totals, dropped: droppedBy });
    return { queue, collected, dropped, droppedBy };
  }

  #messages(): MessageStatistics {
    const now = this.#sent();
    const since = add(this.#reported.messages, subtract(now, this.#sentBefore));
    this.#sentBefore = now;
    this.#reported.messages = NOTHING_SENT;
    this.#write();
    return since;
  }

  #write(): void {
    const written = (error: unknown) => {
      const couldWrite = !this.#cannotWrite;
      this.#cannotWrite = error !== undefined;
      if (this.#cannotWrite && couldWrite)
        this.#log.warn({ err: error }, 'Could not save the reported statistics; a restart may repeat them.');
    };
    this.#files.replace(this.#file, JSON.stringify(this.#reported), written, 'later');
  }
}

const add = (a: MessageStatistics, b: MessageStatistics): MessageStatistics => ({
  sent: a.sent + b.sent,
  under4KB: a.under4KB + b.under4KB,
  failed: a.failed + b.failed,
});

const subtract = (a: MessageStatistics, b: MessageStatistics): MessageStatistics => ({
  sent: a.sent - b.sent,
  under4KB: a.under4KB - b.under4KB,
  failed: a.failed - b.failed,
});

function read(file: string): Reported {
  const none = () => ({ collected: 0, droppedBy: {} });
  const fresh: Reported = { queues: { High: none(), Low: none() }, messages: NOTHING_SENT };
  try {
    return readStateJson(file, (value) => merge(fresh, value as Partial<Reported> | null)) ?? fresh;
  } catch {
    return fresh; // damaged: the next report has all counts of the queues' accounts
  }
}

function merge(fresh: Reported, found: Partial<Reported> | null): Reported {
  const number = (value: unknown) => (isCount(value) ? value : 0);
  const { sent, under4KB, failed } = found?.messages ?? NOTHING_SENT;
  fresh.messages = { sent: number(sent), under4KB: number(under4KB), failed: number(failed) };
  for (const queue of QUEUES) {
    const { collected, droppedBy } = found?.queues?.[queue] ?? fresh.queues[queue];
    const numbers = Object.entries(droppedBy ?? {}).map(([reason, count]) => [reason, number(count)]);
    fresh.queues[queue] = { collected: number(collected), droppedBy: Object.fromEntries(numbers) };
  }
  return fresh;
}
