import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import sinon from 'sinon';
import { BackgroundFiles } from '../../../src/agent/pipeline/background-files.ts';
import { BackgroundWriter } from '../../../src/agent/state/background-writer.ts';
import { endOfWriting } from '../../../src/agent/state/end-of-writing.ts';
import { BackgroundStateFiles } from '../../../src/agent/state/state-files.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { seconds } from '../../../src/core/base/duration.ts';
import { createLog } from '../../../src/core/base/log.ts';
import { temporaryFolder } from '../../harness/folders.ts';

describe('the end of writing', () => {
  let folder: string;
  let time: sinon.SinonFakeTimers;
  let writer: BackgroundWriter;
  let stateFiles: BackgroundStateFiles;
  let lines: Record<string, unknown>[];
  let abandoned: number;

  beforeEach(() => {
    folder = temporaryFolder();
    time = sinon.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    writer = new BackgroundWriter({ clock: systemClock, maxBytes: 100_000 });
    stateFiles = new BackgroundStateFiles({ clock: systemClock });
    lines = [];
    abandoned = 0;
  });
  afterEach(() => {
    time.restore();
  });

  const end = () => {
    const log = createLog({ level: 'info', destination: { write: (line) => void lines.push(JSON.parse(line)) } });
    const service = endOfWriting({
      writer,
      stateFiles,
      clock: systemClock,
      log,
      abandoned: () => {
        abandoned += 1;
      },
    });
    return service.stop();
  };

  it('waits until all is written, and has nothing to say', async () => {
    const files = new BackgroundFiles(writer);
    mkdirSync(join(folder, 'queues'));
    files.create(join(folder, 'queues', 'segment')).append(Buffer.from('events'));
    let isReplaced = false;
    stateFiles.replace(join(folder, 'state.json'), '{}', (error) => {
      isReplaced = error === undefined;
    });
    // Real time: fake time cannot measure how long the disk takes.
    time.restore();
    await end();
    assert.ok(isReplaced);
    assert.equal(writer.bytes, 0);
    assert.deepEqual(lines, []);
    assert.equal(abandoned, 0);
  });

  it('logs after ten seconds which files the disk has not accepted, and how much of each', async () => {
    writer.add({ bytes: 0, run: () => new Promise(() => {}) });
    const files = new BackgroundFiles(writer);
    const segment = files.create(join(folder, 'segment'));
    segment.append(Buffer.alloc(100));
    files.syncNow(join(folder, 'segment'));
    segment.append(Buffer.alloc(20));
    files.remove(join(folder, 'dead'));
    writer.note(join(folder, 'note'), { bytes: 512, write: async () => {} });
    let isDone = false;
    void end().then(() => {
      isDone = true;
    });
    await time.tickAsync(seconds(9));
    assert.equal(isDone, false);
    await time.tickAsync(seconds(1));
    assert.equal(isDone, true);
    assert.equal(abandoned, 1);
    assert.equal(lines.length, 1);
    const [{ level, msg, sizeBytes, files: named, otherFiles } = {}] = lines;
    assert.deepEqual(
      { level, msg, sizeBytes, named, otherFiles },
      {
        level: 'error',
        msg: 'The disk did not accept all data before shutdown; that data is lost.',
        sizeBytes: 632,
        named: [`${join(folder, 'segment')} (120 bytes)`, `${join(folder, 'note')} (512 bytes)`],
        otherFiles: undefined,
      },
    );
  });

  it('names ten files at most', async () => {
    writer.add({ bytes: 0, run: () => new Promise(() => {}) });
    const files = new BackgroundFiles(writer);
    for (let count = 0; count < 14; count += 1) files.create(join(folder, `${count}`)).append(Buffer.alloc(2));
    const ended = end();
    await time.tickAsync(seconds(10));
    await ended;
    assert.equal((lines[0]?.files as string[] | undefined)?.length, 10);
    assert.deepEqual([lines[0]?.otherFiles, lines[0]?.sizeBytes], [4, 28]);
  });
});
