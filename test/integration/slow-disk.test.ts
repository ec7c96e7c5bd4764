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
    agent = bed.startAgent({
      through: WITHOUT_CAPABILITIES,
      environment: disk.environment,
      options: ['--import', TELL_STARTS],
      heard: (line) => {
        const { pid, argv } = JSON.parse(line) as { pid: number; argv: string[] };
        log.ran(pid, argv);
      },
    });
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
});
