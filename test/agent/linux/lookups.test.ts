import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hostLookups } from '../../../src/agent/linux/sources.ts';
import { type Clock, systemClock } from '../../../src/core/base/clock.ts';
import { milliseconds, seconds } from '../../../src/core/base/duration.ts';
import type { Lookups } from '../../../src/core/contract/lookups.ts';
import { temporaryFolder } from '../../harness/folders.ts';

describe('hostLookups', () => {
  const digest = createHash('sha256').update('program').digest('hex');
  let hostRoot: string;
  let path: string;
  let now: number;
  let clock: Clock;
  let look: Lookups;

  beforeEach(() => {
    hostRoot = temporaryFolder();
    path = join(hostRoot, 'bin/a');
    mkdirSync(join(hostRoot, 'proc/1'), { recursive: true });
    writeFileSync(join(hostRoot, 'proc/1/cgroup'), '0::/init.scope\n'); // no containers
    mkdirSync(join(hostRoot, 'bin'));
    writeFileSync(path, 'program', { mode: 0o755 });
    const began = Date.now() + seconds(5); // what was written before has settled
    now = 0;
    clock = {
      ...systemClock,
      now: () => new Date(began + now),
      monotonic: () => milliseconds(now),
    };
    look = hostLookups({ hostRoot, clock });
  });

  /** A process that has just started and already exited. */
  const sha256 = () => {
    now += 1;
    return look.started({ pid: 77, parentPid: 1, userId: 0, executable: '/bin/a', startedAt: clock.now() }).sha256;
  };

  it("reads a program's facts once for a batch, and again for the next one", () => {
    look.newBatch();
    assert.equal(sha256(), digest);
    unlinkSync(path);
    assert.equal(sha256(), digest);
    now += 1;
    look.newBatch();
    assert.equal(sha256(), undefined);
  });

  it("reads a program's facts for each start if no batches are announced", () => {
    assert.equal(sha256(), digest);
    unlinkSync(path);
    assert.equal(sha256(), undefined);
  });
});
