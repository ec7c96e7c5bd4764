import assert from 'node:assert/strict';
import type { SecurityAgentStatus } from '../../src/agent/status/schema.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { type Duration, minutes } from '../../src/core/base/duration.ts';
import type { Fault } from '../../src/emulator/faults.ts';
import { type AgentProcess, DEVICE, MODULE, OBJECT, STEADY, TestBed } from './test-bed.ts';

type Mirror = Readonly<Record<string, { readonly value: unknown } | undefined>>;
type Reported = Readonly<Record<string, unknown>>;

const mirrorOf = (reported: Reported): Mirror => (reported[OBJECT] ?? {}) as Mirror;
const statusOf = (reported: Reported) => reported.securityAgent as SecurityAgentStatus | undefined;

/** Five properties, in addition to those that disable events. */
const FIVE = {
  ...STEADY,
  snapshotFrequency: { value: 'PT6H' },
  lowPriorityMessageFrequency: { value: 'PT2S' },
  maxMessageSizeInBytes: { value: 65_536 },
  eventPriorityLocalUsers: { value: 'oFF' },
  hubResourceId: { value: '/subscriptions/1' },
};

describe('The twin changed through the SDK @release', function () {
  this.timeout(minutes(3));
  let bed: TestBed;
  let agent: AgentProcess;

  beforeEach(async () => {
    bed = await TestBed.open({ desired: FIVE });
    bed.startWith(FIVE);
  });
  afterEach(() => bed.close());

  const reported = () => bed.hub.twin(DEVICE, MODULE).reported as Reported;
  const version = () => bed.hub.twin(DEVICE, MODULE).desired.$version;
  const readings = () => bed.hub.twinOperations.filter(({ kind }) => kind === 'getTwin');
  const applied = (name: string, value: unknown, limit: Duration = minutes(1)) =>
    bed.hub.waitForReported((section) => mirrorOf(section)[name]?.value === value, limit);
  /** Resolves once the agent has read and reported the newest desired properties. */
  const settled = () =>
    bed.hub.waitForReported((section) => statusOf(section)?.configuration.desiredVersion === version(), minutes(1));
  const start = async () => {
    agent = bed.startAgent();
    await settled();
  };

  it('keeps four of five properties when the fifth is patched', async () => {
    await start();
    bed.desire({ snapshotFrequency: { value: 'PT7H' } });
    const { snapshotFrequency, ...unchanged } = mirrorOf(await applied('snapshotFrequency', 'PT7H'));
    assert.deepEqual(snapshotFrequency, { value: 'PT7H' });
    const { snapshotFrequency: _, ...four } = FIVE;
    for (const [name, member] of Object.entries(four)) assert.deepEqual(unchanged[name], member, name);
  });

  it('applies the missed changes after a reconnection', async () => {
    await start();
    await bed.hub.offline();
    bed.desire({ snapshotFrequency: { value: 'PT8H' } });
    bed.desire({ maxMessageSizeInBytes: null });
    await bed.hub.online();
    const mirror = mirrorOf(await applied('snapshotFrequency', 'PT8H', minutes(1)));
    assert.deepEqual(mirror.maxMessageSizeInBytes, { value: 204_800 });
    assert.deepEqual(mirror.hubResourceId, FIVE.hubResourceId);
  });

  it('applies a change without a notification at the next read', async () => {
    await start();
    bed.hub.faults.inject({ kind: 'desiredSilence', count: 1 });
    bed.desire({ snapshotFrequency: { value: 'PT8H' } });
    bed.desire({ hubResourceId: { value: '/subscriptions/2' } });
    const mirror = mirrorOf(await applied('hubResourceId', '/subscriptions/2'));
    assert.deepEqual(mirror.snapshotFrequency, { value: 'PT8H' });
  });

  it('is read once for two simultaneous patches', async () => {
    await start();
    const before = readings().length;
    bed.desire({ snapshotFrequency: { value: 'PT9H' } });
    bed.desire({ maxMessageSizeInBytes: { value: 8192 } });
    const mirror = mirrorOf(await applied('maxMessageSizeInBytes', 8192));
    assert.deepEqual(mirror.snapshotFrequency, { value: 'PT9H' });
    await settled();
    assert.equal(readings().length, before + 1);
  });

  it('is not updated from the content of a notification, which may have an old version', async () => {
    await start();
    const before = readings().length;
    const late = { $version: 1, [OBJECT]: { snapshotFrequency: { value: 'PT1S' } } };
    bed.hub.sendDesiredChange(DEVICE, MODULE, late);
    bed.hub.sendDesiredChange(DEVICE, MODULE, { ...late, $version: 99 });
    await agent.waitForStatus(() => readings().length > before);
    bed.desire({ hubResourceId: { value: '/subscriptions/3' } });
    const section = await applied('hubResourceId', '/subscriptions/3');
    assert.deepEqual(mirrorOf(section).snapshotFrequency, FIVE.snapshotFrequency);
    assert.equal(agent.log.filter(({ msg }) => msg.includes('in force')).length, 2);
  });

  it('is applied for a recreated module, although its versions restart', async () => {
    await start();
    for (let n = 0; n < 5; n += 1) bed.desire({ hubResourceId: { value: `/subscriptions/${n}` } });
    await settled();
    bed.hub.removeModule(DEVICE, MODULE);
    bed.hub.addModule({ deviceId: DEVICE, moduleId: MODULE, primaryKey: bed.key });
    bed.desire({ ...FIVE, snapshotFrequency: { value: 'PT10H' } });
    const section = await applied('snapshotFrequency', 'PT10H', minutes(2));
    assert.equal(version(), 2);
    await settled();
    assert.deepEqual(mirrorOf(section).hubResourceId, FIVE.hubResourceId);
  });

  const FAULTS: Readonly<Record<string, Fault>> = {
    'is answered with 500': { kind: 'twinStatus', status: 500 },
    'is answered with 429': { kind: 'twinStatus', status: 429 },
    'is answered with 429 and no body': { kind: 'twinStatus', status: 429, emptyBody: true },
    'is answered with invalid JSON': { kind: 'twinGarbage' },
  };
  for (const [failure, fault] of Object.entries(FAULTS)) {
    it(`keeps the last good configuration, and is read with a growing interval, while each request ${failure}`, async () => {
      bed.desire({ snapshotFrequency: { value: 'PT11H' } });
      bed.hub.faults.inject(fault);
      agent = bed.startAgent();
      await agent.waitForStatus(() => readings().length >= 2, minutes(1));
      const { source, errors, warnings } = (await agent.status()).configuration;
      assert.deepEqual({ source, errors, warnings }, { source: 'lastKnownGood', errors: {}, warnings: {} });
      assert.equal(reported().securityAgent, undefined);
      const [first, second] = readings().map(({ at }) => at.getTime());
      assert.ok((second ?? 0) - (first ?? 0) >= 1_000);
      bed.hub.faults.clear();
      const section = await applied('snapshotFrequency', 'PT11H', minutes(1));
      assert.equal(statusOf(section)?.configuration.source, 'desired');
      assert.ok(readings().length < 10, `${readings().length} readings`);
    });
  }

  it('keeps the last good configuration while no request is answered, and is applied over a new connection', async () => {
    bed.desire({ snapshotFrequency: { value: 'PT12H' } });
    bed.hub.faults.inject({ kind: 'twinSilence', count: 1 });
    agent = bed.startAgent();
    await agent.waitForStatus(() => readings().length >= 1);
    assert.equal((await agent.status()).configuration.source, 'lastKnownGood');
    await applied('snapshotFrequency', 'PT12H', minutes(2));
    assert.equal(bed.hub.connections.length, 2);
  });

  it('is reported later with its newest state if reports are throttled', async () => {
    await start();
    bed.hub.faults.inject({ kind: 'twinStatus', status: 429, count: 2 });
    bed.desire({ snapshotFrequency: { value: 'PT13H' } });
    await agent.waitForStatus(() => bed.hub.twinOperations.some(({ status }) => status === 429));
    bed.desire({ snapshotFrequency: { value: 'PT14H' } });
    await applied('snapshotFrequency', 'PT14H', minutes(2));
    await settled();
    const failed = bed.hub.twinOperations.filter(({ status }) => status === 429);
    assert.equal(failed.length, 2);
  });

  describe('with strictStart', () => {
    beforeEach(() => bed.writeConfiguration({ strictStart: true }));

    const ended = async () => {
      agent = bed.startAgent();
      const { status } = await systemClock.within(minutes(2), 'the end of the agent', agent.exited);
      return { status, line: agent.log.find(({ code }) => code === 'Remote Configuration') };
    };

    it('is applied before any event is collected', async () => {
      bed.desire({ eventPriorityListeningPorts: { value: 'Off' } });
      await start();
      await bed.waitForEvents(() => bed.events('SystemInformation').length > 0);
      assert.equal(bed.events('ListeningPorts').length, 0); // enabled in the last good configuration
      agent.kill('SIGTERM');
      assert.equal((await agent.exited).status, 0);
    });

    it('makes the agent exit with 76 if it is invalid, which is reported', async () => {
      bed.desire({ snapshotFrequency: { value: '13h' } });
      const { status, line } = await ended();
      assert.equal(status, 76);
      const [error] = agent.log.filter(({ msg }) => msg.startsWith('vakt encountered an error!'));
      assert.equal(error?.id, 'TWIN_INVALID');
      assert.match(
        String(error?.msg),
        /Error in: Remote Configuration, reason: Cant Parse Configuration, extra details: .*snapshotFrequency must be/,
      );
      assert.ok(line !== undefined);
      assert.ok(statusOf(reported())?.configuration.errors.snapshotFrequency !== undefined);
      assert.equal(bed.hub.messages.length, 0);
    });

    it('makes the agent exit with 76 if the hub is unreachable', async () => {
      await bed.hub.offline();
      const { status, line } = await ended();
      assert.deepEqual([status, line?.id, line?.reason], [76, 'TWIN_UNREADABLE', 'Timeout']);
      assert.match(String(line?.msg), /ECONNREFUSED/);
    });

    it('does not delay SIGTERM while the agent waits for it', async () => {
      await bed.hub.offline();
      agent = bed.startAgent();
      await agent.waitForLog(({ id }) => id === 'HUB_UNREACHABLE');
      agent.kill('SIGTERM');
      assert.equal((await systemClock.within(minutes(1), 'the end of the agent', agent.exited)).status, 0);
    });
  });
});
