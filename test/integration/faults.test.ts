import assert from 'node:assert/strict';
import type { LocalStatus } from '../../src/agent/status/schema.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { milliseconds, minutes, seconds } from '../../src/core/base/duration.ts';
import type { FaultKind } from '../../src/emulator/faults.ts';
import { type AgentProcess, assertClosed, OBJECT, STEADY, TestBed } from './test-bed.ts';

const CALM = { snapshotFrequency: { value: 'P30D' } };

/** The result of one scenario. */
interface Outcome {
  readonly status: LocalStatus;
  readonly bed: TestBed;
  /** Distinct elements that the hub received. */
  readonly received: number;
  /** Messages that the hub received more than once. */
  readonly repeats: number;
  /** Most attempts to connect within any minute, including the first. */
  readonly mostPerMinute: number;
  readonly seconds: number;
}

interface Scenario {
  injectFault(bed: TestBed, agent: AgentProcess): Promise<void> | void;
  /** Resolves once the fault may be removed. */
  broken(bed: TestBed, agent: AgentProcess): Promise<unknown>;
  removeFault?(bed: TestBed): Promise<void> | void;
}

const struck = (kind: FaultKind, times: number) => async (bed: TestBed) => {
  const hits = () => bed.hub.faults.active().find((fault) => fault.kind === kind)?.hits;
  const limit = systemClock.monotonic() + minutes(2);
  while ((hits() ?? times) < times && systemClock.monotonic() < limit) await systemClock.sleep(milliseconds(100));
};

const SCENARIOS: Readonly<Record<string, Scenario>> = {
  'an acknowledgement is dropped': {
    injectFault: (bed) => bed.hub.faults.inject({ kind: 'dropAcknowledgements', count: 1 }),
    broken: (bed) => bed.hub.waitForMessage(({ duplicate }) => duplicate, minutes(2)),
  },
  'an acknowledgement arrives too late': {
    injectFault: (bed) => bed.hub.faults.inject({ kind: 'delayAcknowledgements', count: 1, ms: 50_000 }),
    broken: (bed) => bed.hub.waitForMessage(({ duplicate }) => duplicate, minutes(2)),
  },
  'a message is neither accepted nor acknowledged': {
    injectFault: (bed) => bed.hub.faults.inject({ kind: 'ignoreMessages', count: 1 }),
    broken: (_bed, agent) => agent.waitForStatus(({ delivery }) => delivery.messagesFailed > 0, minutes(2)),
  },
  'the connection is reset at three messages': {
    injectFault: (bed) => bed.hub.faults.inject({ kind: 'resetOnPublish', count: 3 }),
    broken: (_bed, agent) => agent.waitForStatus(({ delivery }) => delivery.messagesFailed >= 3, minutes(2)),
  },
  'the hub is unreachable for a while': {
    injectFault: (bed) => bed.hub.offline(),
    broken: () => systemClock.sleep(seconds(20)),
    removeFault: (bed) => bed.hub.online(),
  },
  'the hub accepts only ten messages per minute': {
    injectFault: (bed) => bed.hub.faults.inject({ kind: 'throttleMessages', perMinute: 10, durationMs: 30_000 }),
    broken: () => systemClock.sleep(seconds(30)),
  },
  'the quota is used up': {
    injectFault: (bed) => bed.hub.faults.inject({ kind: 'quotaExceeded' }),
    broken: struck('quotaExceeded', 3),
    removeFault: (bed) => bed.hub.faults.clear(),
  },
  'the credentials are refused, then accepted again': {
    injectFault(bed) {
      bed.hub.faults.inject({ kind: 'refuseConnections', count: 2 }); // after a third, ten minutes would pass
      bed.hub.faults.inject({ kind: 'resetOnPublish', count: 1 });
    },
    broken: (_bed, agent) => agent.waitForLog(({ id }) => id === 'CREDENTIAL_REFUSED', minutes(2)),
  },
  'the twin is throttled': {
    injectFault: (bed) => bed.hub.faults.inject({ kind: 'twinStatus', status: 429, durationMs: 20_000 }),
    broken: (bed) => {
      bed.desire({ lowPriorityMessageFrequency: { value: 'PT2S' } });
      return systemClock.sleep(seconds(20));
    },
  },
};

/** Number of distinct elements that the hub received, without repetitions. */
function elementsIn(bed: TestBed): number {
  const once = new Map(bed.events().map((event) => [event.Id, event]));
  return [...once.values()].reduce((all, e) => all + (e.Category === 'Periodic' ? 1 : e.Payload.length), 0);
}

/** Largest number of attempts within any 60 seconds. */
function mostPerMinute(times: readonly number[]): number {
  return Math.max(0, ...times.map((from) => times.filter((at) => at >= from && at < from + minutes(1)).length));
}

async function play({ injectFault, broken, removeFault }: Scenario): Promise<Outcome> {
  const began = systemClock.monotonic();
  const bed = await TestBed.open({ desired: STEADY });
  bed.startWith(STEADY);
  const agent = bed.startAgent();
  try {
    await bed.waitForEvents(() => bed.hub.messages.length >= 2);
    await injectFault(bed, agent);
    await broken(bed, agent);
    await removeFault?.(bed);
    const before = bed.hub.messages.length;
    await bed.waitForEvents(() => bed.hub.messages.length >= before + 2, minutes(3));
    bed.desire(CALM);
    await bed.hub.waitForReported(
      (reported) => (reported[OBJECT] as typeof CALM | undefined)?.snapshotFrequency.value === 'P30D',
      minutes(6),
    );
    const status = await agent.waitForStatus(
      ({ delivery: { queued, delivered } }) =>
        queued.highEvents + queued.lowEvents === 0 && delivered === elementsIn(bed),
      minutes(3),
    );
    return {
      status,
      bed,
      received: elementsIn(bed),
      repeats: bed.hub.messages.filter(({ duplicate }) => duplicate).length,
      mostPerMinute: mostPerMinute(bed.hub.connections.map(({ connectedAt }) => connectedAt.getTime())),
      seconds: Math.round((systemClock.monotonic() - began) / 1_000),
    };
  } catch (error) {
    process.stderr.write(agent.output.slice(-4000));
    await bed.close();
    throw error;
  }
}

describe('The agent with faults of its hub or connection @release', function () {
  this.timeout(minutes(6));
  const played = new Map<string, Promise<Outcome>>();

  // In parallel: each scenario mostly waits for a time limit.
  before(async () => {
    for (const [name, scenario] of Object.entries(SCENARIOS)) played.set(name, play(scenario));
    await Promise.allSettled(played.values());
  });
  after(async () => {
    for (const [name, outcome] of played) {
      const { status, bed, repeats, mostPerMinute: most, seconds: took } = await outcome;
      const { delivery } = status;
      process.stdout.write(
        `      ${name}: ${delivery.collected} collected, ${delivery.delivered} delivered, ${repeats} repeats, ` +
          `${delivery.messagesSent} messages sent, ${delivery.messagesFailed} failed, ` +
          `${bed.hub.connections.length} connections (at most ${most} per minute), ${took} s\n`,
      );
      await bed.close();
    }
  });

  for (const name of Object.keys(SCENARIOS)) {
    it(`loses no event and retries rarely when ${name}`, async () => {
      const outcome = await played.get(name);
      assert.ok(outcome);
      const { status, received, mostPerMinute: most } = outcome;
      assertClosed(status);
      assert.deepEqual(status.delivery.dropped, {});
      assert.equal(status.delivery.delivered, received);
      assert.ok(most <= 6, `${most} attempts to connect within a minute`);
    });
  }

  it('reports its message statistics after a restart, even after kill -9', async () => {
    const bed = await TestBed.open({ desired: STEADY });
    try {
      bed.startWith(STEADY);
      const first = bed.startAgent();
      await bed.waitForEvents(() => bed.hub.messages.length >= 6);
      first.kill('SIGKILL');
      await first.exited;
      const reported = () => bed.elements('MessageStatistics').reduce((all, one) => all + Number(one.MessagesSent), 0);
      const before = { messages: bed.hub.messages.length, reported: reported() };
      const statistics = bed.events('MessageStatistics').length;
      bed.startAgent();
      await bed.waitForEvents(() => bed.events('MessageStatistics').length > statistics);
      await bed.waitForEvents(() => reported() >= before.messages - 1, minutes(1));
    } finally {
      await bed.close();
    }
  });

  it('repeats a message with the same ids and content', async () => {
    for (const name of ['an acknowledgement is dropped', 'an acknowledgement arrives too late']) {
      const { bed, repeats } = (await played.get(name)) as Outcome;
      assert.ok(repeats > 0, name);
      const bodies = new Map<string, string>();
      for (const { systemProperties, body, duplicate } of bed.hub.messages) {
        const id = systemProperties.messageId ?? '';
        if (duplicate) assert.equal(body, bodies.get(id), name);
        bodies.set(id, body);
      }
    }
  });
});
