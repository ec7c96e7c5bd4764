import assert from 'node:assert/strict';
import type { LocalStatus } from '../../src/agent/status/schema.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { milliseconds, minutes, seconds } from '../../src/core/base/duration.ts';
import type { FaultKind } from '../../src/emulator/faults.ts';
import { type AgentProcess, assertClosed, OBJECT, STEADY, TestBed } from './test-bed.ts';

const CALM = { snapshotFrequency: { value: 'P30D' } };

/** What came of one scenario. */
interface Outcome {
  readonly status: LocalStatus;
  readonly bed: TestBed;
  /** Elements that the hub has got, each once. */
  readonly received: number;
  /** Messages that the hub has got more than once. */
  readonly repeats: number;
  /** Attempts to connect within any minute, the first included. */
  readonly mostPerMinute: number;
  readonly seconds: number;
}

interface Scenario {
  breakIt(bed: TestBed, agent: AgentProcess): Promise<void> | void;
  /** Resolves when it may be mended. */
  broken(bed: TestBed, agent: AgentProcess): Promise<unknown>;
  mendIt?(bed: TestBed): Promise<void> | void;
}

const struck = (kind: FaultKind, times: number) => async (bed: TestBed) => {
  const hits = () => bed.hub.faults.active().find((fault) => fault.kind === kind)?.hits;
  const limit = systemClock.monotonic() + minutes(2);
  while ((hits() ?? times) < times && systemClock.monotonic() < limit) await systemClock.sleep(milliseconds(100));
};

const SCENARIOS: Readonly<Record<string, Scenario>> = {
  'an acknowledgement is dropped': {
    breakIt: (bed) => bed.hub.faults.inject({ kind: 'dropAcknowledgements', count: 1 }),
    broken: (bed) => bed.hub.waitForMessage(({ duplicate }) => duplicate, minutes(2)),
  },
  'an acknowledgement comes too late': {
    breakIt: (bed) => bed.hub.faults.inject({ kind: 'delayAcknowledgements', count: 1, ms: 50_000 }),
    broken: (bed) => bed.hub.waitForMessage(({ duplicate }) => duplicate, minutes(2)),
  },
  'a message is neither taken nor acknowledged': {
    breakIt: (bed) => bed.hub.faults.inject({ kind: 'ignoreMessages', count: 1 }),
    broken: (_bed, agent) => agent.waitForStatus(({ delivery }) => delivery.messagesFailed > 0, minutes(2)),
  },
  'the connection is reset at three messages': {
    breakIt: (bed) => bed.hub.faults.inject({ kind: 'resetOnPublish', count: 3 }),
    broken: (_bed, agent) => agent.waitForStatus(({ delivery }) => delivery.messagesFailed >= 3, minutes(2)),
  },
  'the hub is away for a while': {
    breakIt: (bed) => bed.hub.offline(),
    broken: () => systemClock.sleep(seconds(20)),
    mendIt: (bed) => bed.hub.online(),
  },
  'the hub takes only ten messages a minute': {
    breakIt: (bed) => bed.hub.faults.inject({ kind: 'throttleMessages', perMinute: 10, durationMs: 30_000 }),
    broken: () => systemClock.sleep(seconds(30)),
  },
  'the quota is used up': {
    breakIt: (bed) => bed.hub.faults.inject({ kind: 'quotaExceeded' }),
    broken: struck('quotaExceeded', 3),
    mendIt: (bed) => bed.hub.faults.clear(),
  },
  'the credentials are refused, then taken again': {
    breakIt(bed) {
      bed.hub.faults.inject({ kind: 'refuseConnections', count: 2 }); // after a third, ten minutes would pass
      bed.hub.faults.inject({ kind: 'resetOnPublish', count: 1 });
    },
    broken: (_bed, agent) => agent.waitForLog(({ id }) => id === 'CREDENTIAL_REFUSED', minutes(2)),
  },
  'the twin is throttled': {
    breakIt: (bed) => bed.hub.faults.inject({ kind: 'twinStatus', status: 429, durationMs: 20_000 }),
    broken: (bed) => {
      bed.desire({ lowPriorityMessageFrequency: { value: 'PT2S' } });
      return systemClock.sleep(seconds(20));
    },
  },
};

/** Elements that the hub has got, each once, whatever was repeated. */
function elementsIn(bed: TestBed): number {
  const once = new Map(bed.events().map((event) => [event.Id, event]));
  return [...once.values()].reduce((all, e) => all + (e.Category === 'Periodic' ? 1 : e.Payload.length), 0);
}

/** The greatest number of attempts within any sixty seconds. */
function mostPerMinute(times: readonly number[]): number {
  return Math.max(0, ...times.map((from) => times.filter((at) => at >= from && at < from + minutes(1)).length));
}

async function play({ breakIt, broken, mendIt }: Scenario): Promise<Outcome> {
  const began = systemClock.monotonic();
  const bed = await TestBed.open({ desired: STEADY });
  bed.startWith(STEADY);
  const agent = bed.startAgent();
  try {
    await bed.waitForEvents(() => bed.hub.messages.length >= 2);
    await breakIt(bed, agent);
    await broken(bed, agent);
    await mendIt?.(bed);
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

describe('Whatever goes wrong between the agent and its hub,', function () {
  this.timeout(minutes(6));
  const played = new Map<string, Promise<Outcome>>();

  // All at once: most of each is waiting for a time limit.
  before(async () => {
    for (const [what, scenario] of Object.entries(SCENARIOS)) played.set(what, play(scenario));
    await Promise.allSettled(played.values());
  });
  after(async () => {
    for (const [what, outcome] of played) {
      const { status, bed, repeats, mostPerMinute: most, seconds: took } = await outcome;
      const { delivery } = status;
      process.stdout.write(
        `      ${what}: ${delivery.collected} collected, ${delivery.delivered} delivered, ${repeats} repeats, ` +
          `${delivery.messagesSent} messages sent, ${delivery.messagesFailed} failed, ` +
          `${bed.hub.connections.length} connections (${most} a minute at most), ${took} s\n`,
      );
      await bed.close();
    }
  });

  for (const what of Object.keys(SCENARIOS)) {
    it(`nothing is lost, and little tried, when ${what}`, async () => {
      const outcome = await played.get(what);
      assert.ok(outcome);
      const { status, received, mostPerMinute: most } = outcome;
      assertClosed(status);
      assert.deepEqual(status.delivery.dropped, {});
      assert.equal(status.delivery.delivered, received);
      assert.ok(most <= 6, `${most} attempts to connect within a minute`);
    });
  }

  it('and the figures of its messages are told by the next run, also when kill -9 ended the last one', async () => {
    const bed = await TestBed.open({ desired: STEADY });
    try {
      bed.startWith(STEADY);
      const first = bed.startAgent();
      await bed.waitForEvents(() => bed.hub.messages.length >= 6);
      first.kill('SIGKILL');
      await first.exited;
      const told = () => bed.elements('MessageStatistics').reduce((all, one) => all + Number(one.MessagesSent), 0);
      const before = { messages: bed.hub.messages.length, told: told() };
      const statistics = bed.events('MessageStatistics').length;
      bed.startAgent();
      await bed.waitForEvents(() => bed.events('MessageStatistics').length > statistics);
      await bed.waitForEvents(() => told() >= before.messages - 1, minutes(1));
    } finally {
      await bed.close();
    }
  });

  it('what came twice came with the same ids, and whole', async () => {
    for (const what of ['an acknowledgement is dropped', 'an acknowledgement comes too late']) {
      const { bed, repeats } = (await played.get(what)) as Outcome;
      assert.ok(repeats > 0, what);
      const bodies = new Map<string, string>();
      for (const { systemProperties, body, duplicate } of bed.hub.messages) {
        const id = systemProperties.messageId ?? '';
        if (duplicate) assert.equal(body, bodies.get(id), what);
        bodies.set(id, body);
      }
    }
  });
});
