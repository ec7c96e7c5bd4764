import assert from 'node:assert/strict';
import { realpathSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import { type Duration, milliseconds, seconds } from '../../src/base/duration.ts';
import { TELL_STARTS, WITHOUT_CAPABILITIES } from '../crash/chain.ts';
import { MARK } from '../crash/numbered-events.ts';
import { NumberedLog } from '../crash/numbered-log.ts';
import { Random } from '../crash/random.ts';
import { require } from '../system/require.ts';
import { compiler, SlowDisk } from './slow-disk.ts';
import { type AgentProcess, assertClosed, QUICK, TestBed } from './test-bed.ts';

const DESIRED = {
  ...QUICK,
  snapshotFrequency: { value: 'PT2S' },
  maxLocalCacheSizeInBytes: { value: 32 * 1024 * 1024 },
  ...Object.fromEntries(
    ['ProcessTerminate', 'ConnectionCreate', 'FirewallConfiguration', 'ConnectedHardware', 'LocalUsers'].map((name) => [
      `eventPriority${name}`,
      { value: 'Off' },
    ]),
  ),
};

const PER_SECOND = 200;
const BURSTS_PER_SECOND = 10;

describe('An agent with a slow disk', function () {
  this.timeout(120_000);
  let bed: TestBed;
  let disk: SlowDisk;
  let log: NumberedLog;
  let agent: AgentProcess;

  before(function () {
    require(this, compiler() === undefined ? 'there is no C compiler to build the slow disk with' : undefined);
  });

  beforeEach(async () => {
    bed = await TestBed.open({ desired: DESIRED });
    log = new NumberedLog(join(bed.directory, 'host'), new Random(1));
    bed.writeConfiguration({ hostRoot: log.hostRoot });
    disk = new SlowDisk(join(realpathSync(bed.directory), 'state'));
    agent = start();
    await agent.waitForStatus(
      ({ hub, collectors, configuration }) =>
        hub.state === 'connected' &&
        collectors.ProcessCreate?.source === 'auditLog' &&
        configuration.source === 'desired',
    );
    await systemClock.sleep(seconds(1)); // until what the start has to write is written
    disk.callsOfMainThread();
  });
  afterEach(async () => {
    disk?.mend();
    await bed?.close();
    disk?.remove();
  });

  const start = () =>
    bed.startAgent({
      through: WITHOUT_CAPABILITIES,
      environment: disk.environment,
      options: ['--import', TELL_STARTS],
      heard: (line) => {
        const { pid, argv } = JSON.parse(line) as { pid: number; argv: string[] };
        log.ran(pid, argv);
      },
    });

  /** Has 200 programs start in each second. @returns how long the slowest answer took */
  const live = async (duration: Duration): Promise<number> => {
    const end = systemClock.monotonic() + duration;
    let slowest = 0;
    let next: number = systemClock.monotonic();
    while (systemClock.monotonic() < end) {
      for (; next < systemClock.monotonic(); next += 1_000 / BURSTS_PER_SECOND)
        log.burst(PER_SECOND / BURSTS_PER_SECOND);
      const asked = systemClock.monotonic();
      await agent.status();
      slowest = Math.max(slowest, systemClock.monotonic() - asked);
      await systemClock.sleep(milliseconds(50));
    }
    return slowest;
  };

  const numbers = () => {
    const text = [...bed.elements('ProcessCreate'), ...bed.elements('Login')].map((element) => JSON.stringify(element));
    return new Set(text.map((element) => new RegExp(`${MARK}(\\d+)`).exec(element)?.[1]));
  };

  /** All that happened is at the hub, and nothing was dropped. */
  const assertComplete = async () => {
    await log.complete();
    await bed.waitForEvents(() => numbers().size >= log.appended, seconds(60));
    const status = await agent.status();
    assert.deepEqual(status.delivery.dropped, {});
    assertClosed(status);
  };

  /** Asks the agent to end. @returns after how many milliseconds it had, and how */
  const stop = async () => {
    const asked = systemClock.monotonic();
    agent.kill('SIGTERM');
    const { status, signal } = await systemClock.within(seconds(60), 'The end of the agent', agent.exited);
    return { tookMs: systemClock.monotonic() - asked, status, signal };
  };

  /** Each event has come once, or again under the same id. */
  const assertNoneTwice = () => {
    const ids = new Map<string, string>();
    for (const { Id, Payload } of bed.events('ProcessCreate')) {
      for (const element of Payload) {
        const number = new RegExp(`${MARK}(\\d+)`).exec(JSON.stringify(element))?.[1];
        if (number === undefined) continue;
        assert.equal(ids.get(number) ?? Id, Id, `event ${number} has come twice`);
        ids.set(number, Id);
      }
    }
  };

  it('answers within a second, loses nothing, and writes nothing on its main thread', async () => {
    disk.slow(3_000, 200);
    const slowest = await live(seconds(8));
    const calls = disk.callsOfMainThread();
    assert.ok(slowest < 1_000, `an answer took ${slowest} ms`);
    assert.deepEqual(calls, []);
    await systemClock.sleep(seconds(1));
    assert.ok(numbers().size > 0, 'nothing was delivered meanwhile');
    disk.mend();
    await assertComplete();
  });

  it('goes on while the disk is frozen, and loses nothing', async () => {
    disk.freeze();
    const slowest = await live(seconds(6));
    assert.ok(slowest < 1_000, `an answer took ${slowest} ms`);
    disk.mend();
    await assertComplete();
    assert.deepEqual(disk.callsOfMainThread(), []);
  });

  it('ends within 20 s, and the next run goes on where it stopped', async () => {
    disk.slow(3_000, 200);
    await live(seconds(4));
    const { tookMs, status } = await stop();
    assert.equal(status, 0);
    assert.ok(tookMs < 20_000, `it took ${tookMs} ms`);
    assert.deepEqual(
      agent.log.filter(({ level }) => level === 'error').map(({ msg }) => msg),
      [],
    );
    const sent = bed.hub.messages.length;
    disk.mend();
    agent = start();
    const { restarts } = await agent.waitForStatus(({ hub }) => hub.state === 'connected');
    assert.equal(restarts?.lastEnd, 'stopped');
    await assertComplete();
    assert.ok(bed.hub.messages.length > sent);
    assertNoneTwice();
  });

  it('ends within 30 s when the disk is frozen, says what was not written, and the next run reads it again', async () => {
    await live(seconds(1));
    disk.freeze();
    await live(seconds(2));
    const { tookMs, signal } = await stop();
    assert.ok(tookMs < 30_000, `it took ${tookMs} ms`);
    assert.equal(signal, 'SIGTERM');
    const lost = agent.log.filter(({ sizeBytes }) => sizeBytes !== undefined);
    assert.equal(lost.length, 1, agent.output);
    const files = lost[0]?.files as string[];
    for (const name of ['last-run.json', 'audit-checkpoint.json', 'queues/low/']) {
      assert.ok(
        files.some((file) => file.includes(name)),
        `${name} is not among ${files.join(', ')}`,
      );
    }
    disk.mend();
    agent = start();
    await assertComplete();
    assertNoneTwice();
  });
});
