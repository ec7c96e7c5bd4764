import assert from 'node:assert/strict';
import { realpathSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../src/core/base/clock.ts';
import { seconds } from '../../src/core/base/duration.ts';
import { require } from '../harness/require.ts';
import { until } from '../harness/until.ts';
import { BUSY, BusyHost } from './busy-host.ts';
import { compiler, SlowDisk } from './slow-disk.ts';
import { TestBed } from './test-bed.ts';

/** An operation that waits for the disk takes most of the duration of a sync, since syncs follow one another. */
const LONGEST_ANSWER = seconds(2.5);

describe('An agent with a slow disk @release', function () {
  this.timeout(120_000);
  let bed: TestBed;
  let disk: SlowDisk;
  let host: BusyHost;

  before(function () {
    require(this, compiler() === undefined ? 'there is no C compiler to build the slow disk with' : undefined);
  });

  beforeEach(async () => {
    bed = await TestBed.open({ desired: BUSY });
    host = new BusyHost(bed);
    disk = new SlowDisk(join(realpathSync(bed.directory), 'state'));
    await host.start(disk.environment);
    await systemClock.sleep(seconds(1));
    const isAtRest = () => disk.callsOfMainThread().length === 0;
    await until('what the start has to write to be written', isAtRest, { every: seconds(1) });
  });
  afterEach(async () => {
    disk?.restore();
    await bed?.close();
    disk?.remove();
  });

  /** Stops the agent. @returns the milliseconds until its exit, and its exit status */
  const stop = async () => {
    const asked = systemClock.monotonic();
    host.agent.kill('SIGTERM');
    const { status } = await systemClock.within(seconds(60), 'The end of the agent', host.agent.exited);
    return { tookMs: systemClock.monotonic() - asked, status };
  };

  it('answers without waiting for the disk, loses no event, and never writes on its main thread', async () => {
    disk.slow(3_000, 200);
    const took = await host.live(seconds(8));
    const calls = disk.callsOfMainThread();
    assert.ok(took < LONGEST_ANSWER, `an answer takes ${took} ms`);
    assert.deepEqual(calls, []);
    await bed.waitForEvents(() => host.arrived().size > 0);
    disk.restore();
    await host.assertComplete();
  });

  it('continues while the disk is frozen, without losing an event', async () => {
    disk.freeze();
    const took = await host.live(seconds(6));
    assert.ok(took < LONGEST_ANSWER, `an answer takes ${took} ms`);
    disk.restore();
    await host.assertComplete();
    assert.deepEqual(disk.callsOfMainThread(), []);
  });

  it('exits within 20 s, and its next run continues with the stored events', async () => {
    disk.slow(3_000, 200);
    await host.live(seconds(4));
    const { tookMs, status } = await stop();
    assert.equal(status, 0);
    assert.ok(tookMs < 20_000, `it took ${tookMs} ms`);
    assert.deepEqual(
      host.agent.log.filter(({ level }) => level === 'error').map(({ msg }) => msg),
      [],
    );
    const sent = bed.hub.messages.length;
    disk.restore();
    const { restarts } = await host.start(disk.environment);
    assert.equal(restarts?.lastEnd, 'stopped');
    await host.assertComplete();
    await bed.waitForEvents(() => bed.hub.messages.length > sent); // at first, it may have no events to send
    host.assertNoneTwice();
  });

  it('exits within 30 s while the disk is frozen, and logs the unwritten files, which its next run reads', async () => {
    await host.live(seconds(1));
    disk.freeze();
    await host.live(seconds(2));
    const { tookMs, status } = await stop();
    assert.ok(tookMs < 30_000, `it took ${tookMs} ms`);
    assert.equal(status, 0);
    const lost = host.agent.log.filter(({ sizeBytes }) => sizeBytes !== undefined);
    assert.equal(lost.length, 1, host.agent.output);
    const files = lost[0]?.files as string[];
    for (const name of ['last-run.json', 'audit-checkpoint.json', 'queues/low/']) {
      assert.ok(
        files.some((file) => file.includes(name)),
        `${name} is not among ${files.join(', ')}`,
      );
    }
    disk.restore();
    await host.start(disk.environment);
    await host.assertComplete();
    host.assertNoneTwice();
  });

  it('exits immediately at the second signal while the disk is frozen', async () => {
    await host.live(seconds(1));
    disk.freeze();
    await host.live(seconds(2));
    host.agent.kill('SIGTERM');
    await systemClock.sleep(seconds(2));
    const { tookMs, status } = await stop();
    assert.ok(tookMs < 5_000, `it took ${tookMs} ms`);
    assert.equal(status, 128 + 15);
  });
});
