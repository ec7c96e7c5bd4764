import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sinon from 'sinon';
import { SavedState } from '../../../../src/agent/detections/alerts/saved-state.ts';
import type { StateFiles } from '../../../../src/agent/state/state-files.ts';
import { systemClock } from '../../../../src/core/base/clock.ts';
import { minutes, seconds } from '../../../../src/core/base/duration.ts';
import type { LogLine } from '../../../../src/core/base/log.ts';
import { temporaryFolder } from '../../../harness/folders.ts';
import { quietLog } from '../../pipeline/memory-queues.ts';
import { immediateStateFiles } from '../../state/immediate-state-files.ts';

describe('SavedState', () => {
  let time: sinon.SinonFakeTimers;
  let file: string;
  let logged: LogLine[];
  let value: number;
  let restored: unknown[];
  let writes: number;
  let isLasting: boolean;
  let states: SavedState[];

  const started = async (files: StateFiles = immediateStateFiles, saveEvery = minutes(0)) => {
    const counting: StateFiles = {
      ...files,
      replace: (...change) => {
        writes += 1;
        files.replace(...change);
      },
    };
    const part = { toJson: () => value, restore: (of: unknown) => restored.push(of) };
    const state = new SavedState({
      file,
      files: counting,
      parts: { part },
      whenLasting: () => () => isLasting,
      saveEvery,
      clock: systemClock,
      log: quietLog(logged),
    });
    states.push(state);
    await state.start();
    return state;
  };
  const saved = () => JSON.parse(readFileSync(file, 'utf8'));

  beforeEach(() => {
    file = join(temporaryFolder(), 'detections.json');
    time = sinon.useFakeTimers();
    [logged, value, restored, writes, states] = [[], 1, [], 0, []];
    isLasting = true;
  });
  afterEach(async () => {
    for (const state of states) await state.stop();
    time.restore();
  });

  it('writes at most once per minute, and pending changes at the stop', async () => {
    const state = await started();
    for (; value < 300; value += 1) {
      state.changed();
      await time.tickAsync(seconds(1));
    }
    assert.ok(writes >= 4 && writes <= 6, `${writes} writes in 5 minutes`);
    state.changed();
    await state.stop();
    assert.deepEqual(saved(), { part: 300 });
  });

  it('writes less often if the disk is to be spared', async () => {
    const state = await started(immediateStateFiles, minutes(20));
    for (; value < 3_600; value += 1) {
      state.changed();
      await time.tickAsync(seconds(1));
    }
    assert.equal(writes, 3);
    isLasting = false;
    await time.tickAsync(minutes(21));
    isLasting = true;
    await time.tickAsync(minutes(1));
    assert.equal(writes, 4);
  });

  it('writes nothing without changes', async () => {
    const state = await started();
    await time.tickAsync(minutes(200));
    await state.stop();
    assert.equal(writes, 0);
  });

  it('delays the write until the events queued by then are durable, and writes the state of that time', async () => {
    isLasting = false;
    const state = await started();
    state.changed();
    await time.tickAsync(minutes(5));
    assert.equal(writes, 0);
    value = 2;
    state.changed();
    isLasting = true;
    await time.tickAsync(seconds(1));
    assert.deepEqual(saved(), { part: 1 });
    await time.tickAsync(minutes(1));
    assert.deepEqual(saved(), { part: 2 });
  });

  it('waits for those events at the stop, with a time limit', async () => {
    isLasting = false;
    const state = await started();
    state.changed();
    const stopped = state.stop();
    await time.tickAsync(250);
    assert.equal(writes, 0);
    await time.tickAsync(seconds(1));
    await stopped;
    assert.deepEqual(saved(), { part: 1 });
  });

  it('restores the state of its parts', async () => {
    const state = await started();
    state.changed();
    await state.stop();
    await started();
    assert.deepEqual(restored, [undefined, 1]);
    assert.deepEqual(logged, []);
  });

  it('starts with an empty state if the file is unusable, and logs it without its content', async () => {
    writeFileSync(file, '{"secret": ');
    await started();
    writeFileSync(file, '5');
    await started();
    assert.deepEqual(restored, [undefined, undefined]);
    assert.deepEqual(
      logged.map(({ message }) => message),
      ['Failed to read the saved detection state; starting with an empty state.'],
    );
    assert.ok(!JSON.stringify(logged).includes('secret'));
  });

  it('logs once that it cannot be saved', async () => {
    const state = await started({
      ...immediateStateFiles,
      replace: (_path, _contents, done) => done(new Error('full')),
    });
    for (let n = 0; n < 5; n += 1) {
      state.changed();
      await time.tickAsync(minutes(1));
    }
    assert.equal(logged.length, 1);
  });
});
