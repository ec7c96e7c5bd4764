import assert from 'node:assert/strict';
import sinon from 'sinon';
import * as v from 'valibot';
import { processCreate } from '../../../src/agent/collectors/process-create.ts';
import { Supervisor } from '../../../src/agent/hub/supervisor.ts';
import { Aggregator } from '../../../src/agent/pipeline/aggregator.ts';
import { Publisher } from '../../../src/agent/pipeline/publisher.ts';
import { Snapshots } from '../../../src/agent/pipeline/snapshots.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { hours, minutes, seconds } from '../../../src/core/base/duration.ts';
import { AgentError } from '../../../src/core/base/errors.ts';
import { periodic } from '../../../src/core/contract/collector.ts';
import { type HubClient, HubFailure } from '../../../src/core/contract/hub.ts';
import type { Sources } from '../../../src/core/contract/sources.ts';
import { aggregating, eventOf, liveSettings, MemoryQueues, quietLog } from './memory-queues.ts';
import { memoryChains } from './message-chains.ts';
import { SimulatedFiles, seeded } from './simulated-files.ts';

const START = new Date('2026-03-01T12:00:00.000Z');
const PROCESS = { Executable: '/bin/ls', CommandLine: 'ls', ProcessId: 7, ParentProcessId: 6, UserId: '0' };

/** Runs something under sinon's clock for six hours, and sets the wall clock on the way, at odd moments. */
async function run(
  steps: readonly (readonly [afterMs: number, to: Date])[],
  begin: (did: (what: string) => void) => Promise<() => Promise<unknown>>,
): Promise<string[]> {
  const time = sinon.useFakeTimers({ now: START });
  try {
    const log: string[] = [];
    const end = await begin((what) => log.push(`${what} at ${performance.now() / 1_000} s`));
    let now = 0;
    for (const [afterMs, to] of steps) {
      await time.tickAsync(afterMs - now);
      time.setSystemTime(to);
      now = afterMs;
    }
    await time.tickAsync(hours(6) - now);
    const ended = end();
    await time.tickAsync(seconds(30));
    await ended;
    return log;
  } finally {
    time.restore();
  }
}

const LATER = minutes(17) + 321;
const STEPS = {
  'ten years back': [[LATER, new Date('2016-03-01T12:17:00Z')]],
  'ten years on': [[LATER, new Date('2036-03-01T12:17:00Z')]],
  'to 1970, and right again': [
    [LATER, new Date(0)],
    [hours(2) + 77, new Date('2026-03-01T14:00:00Z')],
  ],
} as const;

const settings = () =>
  liveSettings({
    snapshotFrequency: minutes(10),
    highPriorityMessageFrequency: minutes(7),
    lowPriorityMessageFrequency: hours(1),
    priorities: { Ports: 'Low', ProcessCreate: 'Low' },
    ...aggregating(['ProcessCreate'], minutes(45)),
  });
const error = new AgentError('HUB_UNREACHABLE', 'no answer', 'Wait.');
const parts = { clock: systemClock, log: quietLog() };

const SERVICES: Record<string, (did: (what: string) => void) => Promise<() => Promise<unknown>>> = {
  async snapshots(did) {
    const ports = periodic({
      name: 'Ports',
      type: 'Security',
      priority: 'Low',
      version: '1.0',
      summary: '',
      source: '',
      payload: v.record(v.string(), v.unknown()),
      collect: async () => [],
    });
    const queues = {
      put: () => {
        did('a snapshot');
        return 1;
      },
      drop: () => {},
    };
    const snapshots = new Snapshots({
      ...parts,
      collectors: [ports],
      sources: {} as Sources,
      settings: settings(),
      queues,
      changed: () => {},
    });
    await snapshots.start();
    return () => snapshots.stop();
  },

  async 'aggregation windows'(did) {
    const queues = {
      put: () => {
        did('a window closed');
        return 1;
      },
      drop: () => {},
      positions: () => ({ next: 0, lasting: 0 }),
    };
    const files = new SimulatedFiles(seeded(1));
    const aggregator = new Aggregator({ ...parts, settings: settings(), queues, directory: '/aggregates', files });
    await aggregator.start();
    const feed = setInterval(() => aggregator.add(processCreate, 'Low', PROCESS, systemClock.now()), minutes(1));
    return async () => {
      clearInterval(feed);
      await aggregator.stop();
    };
  },

  async 'the publisher and its back-off'(did) {
    let attempts = 0;
    const hub = {
      send: async () => {
        did('an attempt');
        attempts += 1;
        return attempts % 5 === 0
          ? { status: 'accepted', value: undefined }
          : { status: 'retry', because: attempts % 2 === 0 ? 'throttled' : 'network', error };
      },
      status: () => ({ state: 'connected', credential: { kind: 'moduleKey' } }),
      on: () => {},
    } as unknown as HubClient;
    const queues = new MemoryQueues();
    const sender = { version: '0.1.0', id: '0b5c3f5e-93a4-4b6b-8d7c-0a1b2c3d4e5f' };
    const publisher = new Publisher({
      chains: memoryChains(),
      ...parts,
      queues,
      hub,
      settings: settings(),
      sender,
      routing: 'security',
      random: () => 0.5,
    });
    await publisher.start();
    const feed = setInterval(() => queues.put('High', [eventOf(300)]), minutes(3));
    return async () => {
      clearInterval(feed);
      await publisher.stop();
    };
  },
};

describe('a step of the wall clock', () => {
  for (const [service, begin] of Object.entries(SERVICES)) {
    let undisturbed: string[];
    before(async () => {
      undisturbed = await run([], begin);
      assert.ok(undisturbed.length > 5, `${undisturbed.length} times`);
    });

    for (const [step, steps] of Object.entries(STEPS)) {
      it(`${step} is nothing to ${service}`, async () => {
        assert.deepEqual(await run(steps, begin), undisturbed);
      });
    }
  }

  it('makes the back-off of a failing connection end, and starts no storm', async () => {
    const attempts = async (steps: readonly (readonly [number, Date])[]) =>
      (
        await run(steps, async (did) => {
          const stop = new AbortController();
          const supervisor = new Supervisor({
            prepare: async () => undefined,
            nextHasOther: () => undefined,
            open: async () => {
              did('an attempt');
              throw new HubFailure(error, 'network');
            },
            renewAfter: () => minutes(45),
            clock: systemClock,
            random: () => 0.5,
            onChange: () => {},
            onFailure: () => {},
            onConnected: () => {},
            onStable: () => {},
          });
          const running = supervisor.run(stop.signal);
          return () => {
            stop.abort();
            return running;
          };
        })
      ).length;
    const undisturbed = await attempts([]);
    for (const steps of Object.values(STEPS)) {
      const more = (await attempts(steps)) - undisturbed;
      assert.ok(more >= 0 && more <= steps.length + 1, `${more} attempts more`);
    }
  });
});
