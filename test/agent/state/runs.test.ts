import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sinon from 'sinon';
import { Runs } from '../../../src/agent/state/runs.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { minutes } from '../../../src/core/base/duration.ts';
import { createLog, type LogLine } from '../../../src/core/base/log.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { immediateStateFiles } from './immediate-state-files.ts';

const START = new Date('2026-01-01T00:00:00.000Z');

describe('the runs of the agent', () => {
  let time: sinon.SinonFakeTimers;
  let folder: string;
  let file: string;
  let bootId: string | undefined;
  let isAskedTo: boolean;
  let logged: LogLine[];

  beforeEach(() => {
    time = sinon.useFakeTimers(START);
    folder = temporaryFolder();
    file = join(folder, 'last-run.json');
    bootId = 'first';
    isAskedTo = true;
    logged = [];
  });
  afterEach(() => {
    time.restore();
  });

  /** Begins a run a minute after the last one began. It ends when `stop` is called, or never. */
  const begin = async () => {
    const log = createLog({ level: 'silent', tap: { level: 'info', accept: (line) => logged.push(line) } });
    const runs = new Runs({
      files: immediateStateFiles,
      file,
      bootId,
      isAskedTo: () => isAskedTo,
      clock: systemClock,
      log,
    });
    await runs.start();
    await runs.report.start();
    await time.tickAsync(minutes(1));
    return runs;
  };
  const stopped = async () => (await begin()).stop();
  const status = async () => (await begin()).status();
  const minute = (count: number) => new Date(START.getTime() + minutes(count)).toISOString();

  it('begin with nothing to tell', async () => {
    assert.deepEqual(await status(), { unclean: 0 });
    assert.deepEqual(logged, []);
  });

  it('a run is on disk before the start ends, unless the disk is frozen', async () => {
    let settle = () => {};
    const files = {
      replace: () => {},
      remove: () => {},
      settled: () => new Promise<void>((resolve) => (settle = resolve)),
    };
    const log = createLog({ level: 'silent' });
    const starts: string[] = [];
    const start = (name: string) => {
      const runs = new Runs({ file, bootId, isAskedTo: () => isAskedTo, clock: systemClock, log, files });
      void runs.start().then(() => starts.push(name));
    };
    start('sound');
    await time.tickAsync(1);
    assert.deepEqual(starts, []);
    settle();
    await time.tickAsync(0);
    start('frozen');
    await time.tickAsync(6_000);
    assert.deepEqual(starts, ['sound', 'frozen']);
  });

  it('the next run reports that the last one was stopped', async () => {
    await stopped();
    assert.deepEqual(await status(), { unclean: 0, lastEnd: 'stopped' });
    assert.deepEqual(logged, []);
  });

  it('a run that was killed while its services stopped also counts as stopped', async () => {
    (await begin()).end();
    assert.deepEqual(await status(), { unclean: 0, lastEnd: 'stopped' });
  });

  it('count those that were killed, from the last one that was stopped on, and warn', async () => {
    await stopped();
    for (let kills = 0; kills < 3; kills += 1) await begin();
    assert.deepEqual(await status(), { unclean: 3, since: minute(1), lastEnd: 'killed' });
    assert.deepEqual(
      logged.map(({ level }) => level),
      ['warn', 'warn', 'warn'],
    );
  });

  it('the count restarts after a run that was stopped', async () => {
    await begin();
    await stopped();
    assert.deepEqual(await status(), { unclean: 0, lastEnd: 'stopped' });
  });

  it('count those that gave up', async () => {
    isAskedTo = false;
    await stopped();
    assert.deepEqual(await status(), { unclean: 1, since: minute(0), lastEnd: 'failed' });
  });

  it('a power cut does not count as a crash, and earlier crashes are kept', async () => {
    await begin();
    await begin();
    bootId = 'second';
    assert.deepEqual(await status(), { unclean: 1, since: minute(0), lastEnd: 'poweredOff' });
    assert.deepEqual(await status(), { unclean: 2, since: minute(0), lastEnd: 'killed' });
  });

  for (const [what, contents] of Object.entries({
    'is no JSON': '{"startedAt":',
    'is of another kind': '{"unclean":-1}',
    'is too long': `{"startedAt":"${START.toISOString()}","unclean":1,"x":"${'x'.repeat(5_000)}"}`,
  })) {
    it(`earlier runs are unknown if the record ${what}`, async () => {
      writeFileSync(file, contents);
      assert.deepEqual(await status(), { unclean: 0 });
    });
  }

  it('the agent runs even if the run cannot be recorded', async () => {
    mkdirSync(join(file, 'in-the-way'), { recursive: true });
    assert.deepEqual(await status(), { unclean: 0 });
    assert.deepEqual(logged, []);
  });

  it('keep one small private file, however many there are', async () => {
    for (let kills = 0; kills < 50; kills += 1) await begin();
    assert.ok(readFileSync(file).length < 300);
    assert.equal(statSync(file).mode & 0o777, 0o600);
  });
});
