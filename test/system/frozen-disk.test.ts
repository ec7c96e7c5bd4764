import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import { milliseconds, seconds } from '../../src/base/duration.ts';
import { type AgentProcess, assertClosed, STEADY, TestBed } from '../integration/test-bed.ts';
import { require } from './require.ts';

const TOOLS = ['mkfs.ext4', 'fsfreeze', 'mount'];
const MEGABYTES = 32;

const DESIRED = { ...STEADY, snapshotFrequency: { value: 'PT1S' } };

/** Why no file system can be mounted and frozen here. */
function missing(): string | undefined {
  if (process.getuid?.() !== 0) return 'this is not root, which alone may mount';
  const tool = TOOLS.find((name) => spawnSync(name, ['-V']).error !== undefined);
  if (tool !== undefined) return `there is no ${tool}`;
  return spawnSync('losetup', ['--find']).status === 0 ? undefined : 'there is no loop device';
}

describe('An agent whose state directory is on a frozen file system', function () {
  this.timeout(120_000);
  let bed: TestBed;
  let agent: AgentProcess | undefined;
  let state: string;

  before(function () {
    require(this, missing());
  });
  beforeEach(async () => {
    bed = await TestBed.open({ desired: DESIRED });
    state = join(bed.directory, 'state');
    const image = join(bed.directory, 'disk');
    execFileSync('truncate', ['--size', `${MEGABYTES}M`, image]);
    execFileSync('mkfs.ext4', ['-q', image]);
    mkdirSync(state, { mode: 0o700 });
    execFileSync('mount', ['-o', 'loop', image, state], { stdio: 'pipe' });
    execFileSync('chmod', ['700', state]);
    bed.write('state/last-good-configuration.json', JSON.stringify({ configuration: DESIRED }));
  });
  afterEach(async () => {
    spawnSync('fsfreeze', ['--unfreeze', state]);
    try {
      await agent?.end();
    } finally {
      spawnSync('umount', ['--lazy', state]);
      await bed?.close();
    }
  });

  it('answers, collects and sends meanwhile, and loses nothing', async () => {
    agent = bed.startAgent();
    await agent.waitForStatus(({ delivery }) => delivery.messagesSent >= 3);
    execFileSync('fsfreeze', ['--freeze', state]);
    const { messagesSent } = (await agent.status()).delivery;
    const until = systemClock.monotonic() + seconds(8);
    let slowest = 0;
    while (systemClock.monotonic() < until) {
      const asked = systemClock.monotonic();
      await agent.status();
      slowest = Math.max(slowest, systemClock.monotonic() - asked);
      await systemClock.sleep(milliseconds(50));
    }
    assert.ok(slowest < 1_000, `an answer took ${slowest} ms`);
    const frozen = await agent.status();
    assert.ok(frozen.delivery.messagesSent > messagesSent, 'nothing was sent meanwhile');
    assert.equal(frozen.store.place, 'memory');
    assert.match(frozen.store.reason ?? '', /^the disk has not answered for \d+ s$/);
    execFileSync('fsfreeze', ['--unfreeze', state]);
    const thawed = await agent.waitForStatus(({ store }) => store.place === 'disk');
    assert.deepEqual(thawed.delivery.dropped, {});
    assertClosed(thawed);
  });
});
