import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sinon from 'sinon';
import { Pause } from '../../../src/agent/pipeline/pause.ts';
import { type Clock, systemClock } from '../../../src/core/base/clock.ts';
import { hours, milliseconds, minutes } from '../../../src/core/base/duration.ts';
import type { LogLine } from '../../../src/core/base/log.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { immediateStateFiles } from '../state/immediate-state-files.ts';
import { quietLog } from './memory-queues.ts';

const START = new Date('2026-05-01T12:00:00.000Z');

describe('Pause', () => {
  let folder: string;
  let file: string;
  let time: sinon.SinonFakeTimers;
  let skipped: number;
  let changed: sinon.SinonStub;
  let logged: LogLine[];
  let announced: string[];
  let runs: Pause[];

  beforeEach(() => {
    folder = temporaryFolder();
    file = join(folder, 'pause.json');
    time = sinon.useFakeTimers({ now: START });
    skipped = 10;
    changed = sinon.stub();
    logged = [];
    runs = [];
    announced = [];
  });
  afterEach(async () => {
    for (const run of runs) await run.stop();
    sinon.restore();
    time.restore();
  });

  const started = async (at = file, clock: Clock = systemClock) => {
    const log = quietLog(logged);
    const announce = (change: string) => void announced.push(change);
    const pause = new Pause({
      files: immediateStateFiles,
      file: at,
      skipped: () => skipped,
      clock,
      log,
      changed,
      announce,
    });
    runs.push(pause);
    await pause.start();
    return pause;
  };
  const security = { type: 'Security' } as const;

  it('a pause is announced when it starts, changes and ends, but not when it continues after a restart', async () => {
    const pause = await started();
    await pause.begin(minutes(30), 'Update');
    await pause.begin(minutes(10), 'a; b');
    await pause.stop();
    await started();
    skipped += 3;
    await time.tickAsync(minutes(10));
    const [first, second] = ['2026-05-01T12:30:00.000Z', '2026-05-01T12:10:00.000Z'];
    assert.deepEqual(announced, [
      `nothing to ${first} ("Update")`,
      `${first} to ${second} ("a; b")`,
      `${second} to nothing (3 events were skipped)`,
    ]);
  });

  it('skips what is of type Security, and nothing else, until it ends by itself', async () => {
    const pause = await started();
    assert.deepEqual([pause.skips(security), pause.status()], [false, undefined]);
    assert.equal(await pause.begin(minutes(30), 'Update'), true);
    skipped += 3;
    assert.deepEqual(pause.status(), { until: '2026-05-01T12:30:00.000Z', reason: 'Update', skipped: 3 });
    assert.deepEqual(
      [security, { type: 'Operational' } as const, { type: 'Diagnostic' } as const].map((one) => pause.skips(one)),
      [true, false, false],
    );
    await time.tickAsync(minutes(30) - 1);
    assert.equal(pause.skips(security), true);
    await time.tickAsync(1);
    assert.deepEqual([pause.skips(security), pause.status(), existsSync(file)], [false, undefined, false]);
    assert.equal(changed.callCount, 2);
    assert.deepEqual(
      logged.map(({ level, message }) => [level, message]),
      [
        ['warn', 'Collection is paused; skipped events are counted.'],
        ['warn', 'The pause has ended; collection continues.'],
      ],
    );
  });

  it('a pause ends on request and returns its state', async () => {
    const pause = await started();
    assert.equal(pause.end(), undefined);
    await pause.begin(hours(24), 'Update');
    skipped += 5;
    assert.equal(pause.end()?.skipped, 5);
    assert.deepEqual([pause.skips(security), existsSync(file)], [false, false]);
  });

  it('can be given another end, sooner or later', async () => {
    const pause = await started();
    await pause.begin(hours(2), 'One');
    skipped += 1;
    await time.tickAsync(minutes(1));
    await pause.begin(minutes(1), 'Two');
    assert.deepEqual(pause.status(), { until: '2026-05-01T12:02:00.000Z', reason: 'Two', skipped: 1 });
    await time.tickAsync(minutes(1));
    assert.equal(pause.status(), undefined);
  });

  it('does not care when the wall clock is set while it lasts', async () => {
    const pause = await started();
    await pause.begin(minutes(30), 'Update');
    time.setSystemTime(new Date('2030-01-01T00:00:00Z'));
    await time.tickAsync(minutes(29));
    assert.equal(pause.skips(security), true);
    await time.tickAsync(minutes(1));
    assert.equal(pause.skips(security), false);
  });

  it('ends in time on a device that is suspended', async () => {
    let suspended = 0;
    const sinceBoot = () => milliseconds(performance.now() + suspended);
    const pause = await started(file, { ...systemClock, sinceBoot });
    await pause.begin(hours(8), 'Update');
    await time.tickAsync(hours(1));
    assert.equal(pause.skips(security), true);
    suspended = hours(7);
    await time.tickAsync(minutes(1));
    assert.equal(pause.skips(security), false);
  });

  describe('over a restart', () => {
    const restartedAt = async (now: Date) => {
      const first = await started();
      await first.begin(minutes(30), 'Update');
      skipped += 2;
      await first.stop();
      time.setSystemTime(now);
      return started();
    };

    it('a pause continues after a restart for the rest of its time, with its counts', async () => {
      const pause = await restartedAt(new Date('2026-05-01T12:20:00Z'));
      assert.deepEqual(pause.status(), { until: '2026-05-01T12:30:00.000Z', reason: 'Update', skipped: 2 });
      await time.tickAsync(minutes(10));
      assert.deepEqual([pause.status(), existsSync(file)], [undefined, false]);
    });

    for (const [what, now] of [
      ['its time has passed meanwhile', new Date('2026-05-01T12:30:00Z')],
      ['the clock has gone back behind its beginning', new Date('2026-05-01T11:59:59Z')],
      ['the clock is not set', new Date('1970-01-01T00:00:10Z')],
    ] as const) {
      it(`is over when ${what}`, async () => {
        const pause = await restartedAt(now);
        assert.deepEqual([pause.status(), existsSync(file)], [undefined, false]);
      });
    }

    it('is over when the clock was not set when it began, and is not set again', async () => {
      time.setSystemTime(new Date('1970-01-01T00:00:20Z'));
      const pause = await restartedAt(new Date('1970-01-01T00:00:30Z'));
      assert.deepEqual([pause.status(), existsSync(file)], [undefined, false]);
    });

    const until = '2026-05-01T12:10:00.000Z';
    const sound = { until, durationMs: 900_000, reason: 'x', skippedBefore: 0 };
    for (const text of [
      '',
      '{',
      'null',
      JSON.stringify({ ...sound, until: 'soon' }),
      JSON.stringify({ ...sound, durationMs: 24 * 3_600_000 + 1 }),
      JSON.stringify({ ...sound, reason: 'x'.repeat(257) }),
      JSON.stringify({ ...sound, skippedBefore: -1 }),
      JSON.stringify({ ...sound, more: 'x'.repeat(5_000) }),
    ]) {
      it(`is not begun by a file with ${text.slice(0, 60)}`, async () => {
        writeFileSync(file, text);
        const pause = await started();
        assert.deepEqual([pause.status(), existsSync(file)], [undefined, false]);
        assert.match(logged[0]?.message ?? '', /^Could not read the saved pause;/);
      });
    }

    it('is begun by a file that is sound', async () => {
      writeFileSync(file, JSON.stringify(sound));
      assert.equal((await started()).status()?.until, until);
    });
  });

  it('is in force, and says that a restart ends it, when it cannot be written down', async () => {
    const pause = await started(join(folder, 'not', 'there'));
    assert.equal(await pause.begin(minutes(1), 'Update'), false);
    assert.equal(pause.skips(security), true);
    assert.match(logged[1]?.message ?? '', /^Could not save the pause;/);
  });
});
