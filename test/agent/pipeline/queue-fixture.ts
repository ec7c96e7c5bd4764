import assert from 'node:assert/strict';
import { EventQueues } from '../../../src/agent/pipeline/queue.ts';
import type { StoreFiles } from '../../../src/agent/pipeline/store-files.ts';
import type { Clock } from '../../../src/core/base/clock.ts';
import { droppedIn } from '../../../src/core/base/counters.ts';
import { type Duration, days, milliseconds } from '../../../src/core/base/duration.ts';
import { createLog } from '../../../src/core/base/log.ts';
import { nextTurn } from '../../../src/core/base/waiting.ts';
import { QUEUES, type QueueName } from '../../../src/core/contract/event.ts';
import type { Settings, SettingsReader } from '../../../src/core/contract/settings.ts';
import type { OutgoingEvent, QueuedEvent } from '../../../src/core/contract/store.ts';
import { synchronousFiles } from './synchronous-files.ts';

/** Time in the test's hand. */
export class HandClock implements Clock {
  #now = 0;
  readonly #sleepers = new Set<{ at: number; wake: () => void }>();

  now = () => new Date(this.#now);
  monotonic = () => milliseconds(this.#now);
  fromKernel = () => this.now();
  within = async <T>(_limit: unknown, _what: string, work: Promise<T>) => work;

  sleep(wait: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const wake = () => {
        signal?.removeEventListener('abort', wake);
        this.#sleepers.delete(sleeper);
        resolve();
      };
      const sleeper = { at: this.#now + wait, wake };
      this.#sleepers.add(sleeper);
      signal?.addEventListener('abort', wake, { once: true });
    });
  }

  async advance(by: number): Promise<void> {
    await nextTurn(); // tasks that woke up start their next sleep
    this.#now += by;
    for (const sleeper of this.#sleepers) if (sleeper.at <= this.#now) sleeper.wake();
    await nextTurn();
  }
}

export interface TestSettings extends SettingsReader {
  limit: number;
  setLimit(bytes: number): void;
}

export function testSettings(limit: number): TestSettings {
  const listeners: ((before: Settings) => void)[] = [];
  const settings: TestSettings = {
    limit,
    current: () => ({ maxLocalCacheSizeInBytes: settings.limit }) as Settings,
    onChange: (listener) => void listeners.push(listener),
    setLimit(bytes) {
      const before = settings.current();
      settings.limit = bytes;
      for (const listener of listeners) listener(before);
    },
  };
  return settings;
}

export interface Fixture {
  queues: EventQueues;
  settings: TestSettings;
  clock: HandClock;
  lines: { level: string; msg: string }[];
  /** Called when the store has changed. */
  changed: () => void;
}

export function fixture(
  files: StoreFiles = synchronousFiles,
  directory = '/q',
  limit = 1_000_000,
  ageLimit: Duration = days(30),
  syncEvery?: Duration,
): Fixture {
  const settings = testSettings(limit);
  const clock = new HandClock();
  const lines: Fixture['lines'] = [];
  const log = createLog({ level: 'debug', destination: { write: (line) => void lines.push(JSON.parse(line)) } });
  const changed = () => result.changed();
  const chosen = syncEvery === undefined ? {} : { syncEvery };
  const options = { files, directory, settings, ageLimit, clock, log, changed, ...chosen };
  const result: Fixture = { queues: new EventQueues(options), settings, clock, lines, changed: () => {} };
  return result;
}

let serial = 0;
/** An event whose JSON takes `bytes` and is like no other. */
export function event(bytes = 100, name = 'ProcessCreate', elements = 1, occurrences = elements): OutgoingEvent {
  const head = `{"n":${serial++},"x":"`;
  return {
    name,
    elements,
    occurrences,
    json: `${head}${'é'.repeat(5)}${'x'.repeat(Math.max(0, bytes - head.length - 12))}"}`,
  };
}

export const events = (count: number, bytes?: number) => Array.from({ length: count }, () => event(bytes));

/** All that waits in a queue. It stays there. */
export function contents(queues: EventQueues, queue: QueueName): readonly QueuedEvent[] {
  const taken = queues.take(queue, Number.POSITIVE_INFINITY, true);
  if (taken.length > 0) queues.settle(queue, 'kept');
  return taken;
}

export const jsonOf = (all: readonly OutgoingEvent[]) => all.map(({ json }) => json);

/** Collected = delivered + aggregated away + dropped + queued, by name and in all, and the counts agree. */
export function assertClosed(queues: EventQueues): void {
  for (const queue of QUEUES) {
    const { byEvent, totals } = queues.account(queue);
    for (const [name, row] of [...Object.entries(byEvent), ['all', totals] as const]) {
      const accounted = row.delivered + row.aggregatedAway + droppedIn(row) + row.queued;
      assert.equal(accounted, row.collected, `${queue} ${name}: ${JSON.stringify(row)}`);
    }
    const queued = Object.values(byEvent).reduce((all, row) => all + row.queued, 0);
    assert.equal(queues.waiting(queue).elements, queued);
  }
}
