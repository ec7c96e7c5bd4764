import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import { milliseconds, seconds } from '../../src/base/duration.ts';
import type { LogLine } from '../../src/base/log.ts';
import { connectionCreate } from '../../src/collectors/connection-create.ts';
import { LinuxEvents } from '../../src/linux/events.ts';
import { quietLog } from '../pipeline/memory-queues.ts';
import { missingForAudit, require } from './require.ts';

const SOURCE = new URL('../../../test/system/native/ring.c', import.meta.url).pathname;

describe('A program that uses io_uring', function () {
  this.timeout(30_000);
  let folder: string;
  let program: string;

  before(async function () {
    folder = mkdtempSync(join(tmpdir(), 'vakt-ring-'));
    program = join(folder, 'ring');
    require(this, await missingForAudit());
    const isBuilt = spawnSync('gcc', ['-o', program, SOURCE]).status === 0;
    require(this, isBuilt ? undefined : 'there is no C compiler');
    const isThere = Number(spawnSync(program, { encoding: 'utf8' }).stdout) >= 0;
    require(this, isThere ? undefined : 'this kernel has no io_uring, or it is switched off');
  });
  after(() => rmSync(folder, { recursive: true }));

  it('is told of once', async () => {
    const logged: LogLine[] = [];
    const events = new LinuxEvents({
      streams: () => new Set(['connections']),
      rules: () => (connectionCreate.category === 'Triggered' ? (connectionCreate.auditRules ?? []) : []),
      sink: { accept: () => {}, drop: () => {} },
      clock: systemClock,
      log: quietLog(logged),
      hostRoot: '/',
      loopback: false,
    });
    await events.start();
    try {
      const told = () => logged.filter(({ id }) => id === 'IO_URING_USED').map(({ message }) => message);
      for (let run = 0; run < 3; run += 1) spawnSync(program);
      const deadline = systemClock.monotonic() + seconds(10);
      while (told().length === 0 && systemClock.monotonic() < deadline) await systemClock.sleep(milliseconds(50));
      await systemClock.sleep(milliseconds(600));
      assert.equal(told().length, 1);
      assert.ok(told()[0]?.includes(`${program} (process `));
    } finally {
      await events.stop();
    }
  });
});
