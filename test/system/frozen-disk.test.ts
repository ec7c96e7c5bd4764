import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { LocalStatus } from '../../src/agent/status/schema.ts';
import { minutes, seconds } from '../../src/core/base/duration.ts';
import { require } from '../harness/require.ts';
import { BUSY, BusyHost } from '../integration/busy-host.ts';
import { assertClosed, TestBed } from '../integration/test-bed.ts';

const TOOLS = ['mkfs.ext4', 'fsfreeze', 'mount'];
const MEGABYTES = 32;
/** Writes wait until the disk is thawed, or until the agent continues without it after 5 s. */
const LONGEST_ANSWER = seconds(2.5);

/** Returns why no file system can be mounted and frozen here. */
function missing(): string | undefined {
  if (process.getuid?.() !== 0) return 'this is not root, which alone may mount';
  const tool = TOOLS.find((name) => spawnSync(name, ['-V']).error !== undefined);
  if (tool !== undefined) return `there is no ${tool}`;
  return spawnSync('losetup', ['--find']).status === 0 ? undefined : 'there is no loop device';
}

describe('An agent whose state directory is on a frozen file system', function () {
  this.timeout(240_000);
  let bed: TestBed;
  let host: BusyHost | undefined;
  let state: string;

  before(function () {
    require(this, missing());
  });
  beforeEach(async () => {
    bed = await TestBed.open({ desired: BUSY });
    state = join(bed.directory, 'state');
    const image = join(bed.directory, 'disk');
    execFileSync('truncate', ['--size', `${MEGABYTES}M`, image]);
    execFileSync('mkfs.ext4', ['-q', image]);
    mkdirSync(state, { mode: 0o700 });
    execFileSync('mount', ['-o', 'loop', image, state], { stdio: 'pipe' });
    execFileSync('chmod', ['700', state]);
  });
  afterEach(async () => {
    spawnSync('fsfreeze', ['--unfreeze', state]);
    try {
      await host?.agent.end();
    } finally {
      spawnSync('umount', ['--lazy', state]);
      await bed?.close();
    }
  });

  const freeze = () => execFileSync('fsfreeze', ['--freeze', state]);
  const thaw = () => execFileSync('fsfreeze', ['--unfreeze', state]);

  it('answers, collects and sends for 20 s without losses', async () => {
    host = new BusyHost(bed);
    await host.start();
    await host.live(seconds(1));
    freeze();
    const { messagesSent } = (await host.agent.status()).delivery;
    const before = host.happened;
    const took = await host.live(seconds(20));
    assert.ok(took < LONGEST_ANSWER, `an answer takes ${took} ms`);
    assert.ok(host.happened - before >= 3_000, `only ${host.happened - before} programs were started`);
    const hasSent = ({ delivery }: LocalStatus) => delivery.messagesSent >= messagesSent + 10;
    await host.live(minutes(1), hasSent);
    const frozen = await host.agent.status();
    assert.ok(hasSent(frozen), 'too little was sent while the disk was frozen');
    assert.equal(frozen.store.place, 'memory');
    assert.match(frozen.store.reason ?? '', /^the disk has not answered for \d+ s$/);
    thaw();
    await host.agent.waitForStatus(({ store }) => store.place === 'disk');
    await host.assertComplete();
    host.assertNoneTwice();
  });

  it('counts the events that do not fit into memory, and still answers @release', async () => {
    // High events, since the memory budget itself makes the agent omit Low events.
    bed.desire({ eventPriorityProcessCreate: { value: 'High' }, eventPriorityLogin: { value: 'High' } });
    host = new BusyHost(bed, { perSecond: 600, longestFiller: 7_000, settings: { memoryBudgetInMegabytes: 48 } });
    await host.start();
    freeze();
    const { dropped: before } = (await host.agent.status()).delivery;
    const took = await host.live(minutes(1), ({ delivery }) => (delivery.dropped.cacheFull ?? 0) > 100);
    assert.ok(took < LONGEST_ANSWER, `an answer takes ${took} ms`);
    thaw();
    await host.complete();
    const { happened } = host;
    const isRead = ({ store, delivery }: LocalStatus) => store.place === 'disk' && delivery.collected >= happened;
    const thawed = await host.agent.waitForStatus(isRead);
    assertClosed(thawed);
    const { cacheFull = 0, memory: _, ...unexpected } = thawed.delivery.dropped;
    assert.deepEqual([before, unexpected], [{}, {}]);
    assert.ok(cacheFull > 100 && cacheFull < happened, `${cacheFull} of ${happened} were dropped`);
  });
});
