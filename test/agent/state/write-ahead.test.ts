import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BackgroundFiles } from '../../../src/agent/pipeline/background-files.ts';
import { BackgroundWriter } from '../../../src/agent/state/background-writer.ts';
import { NoteFile } from '../../../src/agent/state/note-file.ts';
import { WriteAhead } from '../../../src/agent/state/write-ahead.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { minutes } from '../../../src/core/base/duration.ts';
import { nextTurn } from '../../../src/core/base/waiting.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { require } from '../../harness/require.ts';
import { until } from '../../harness/until.ts';

const MEMORY = '/dev/shm';

describe('WriteAhead', () => {
  let state: string;
  let runtime: string;
  let writer: BackgroundWriter;
  let files: BackgroundFiles;

  const open = () => WriteAhead.open(runtime, state) ?? assert.fail('not in memory');
  const heldBytes = () => statSync(join(runtime, 'write-ahead.log')).size;
  const log = () => join(state, 'queues', '1.log');

  before(function () {
    require(this, existsSync(MEMORY) ? undefined : `${MEMORY} does not exist`);
  });
  beforeEach(() => {
    state = temporaryFolder();
    runtime = mkdtempSync(`${MEMORY}/vakt-write-ahead-`);
    writer = new BackgroundWriter({ clock: systemClock, maxBytes: 8_000_000, ahead: open(), notesEvery: minutes(5) });
    files = new BackgroundFiles(writer);
    files.makeFolder(join(state, 'queues'));
  });
  afterEach(() => {
    rmSync(runtime, { recursive: true, force: true });
  });

  it('holds changes until a file is synced', async () => {
    const file = files.create(log());
    file.append(Buffer.from('one'));
    await nextTurn();
    assert.equal(existsSync(log()), false);
    assert.ok(heldBytes() > 0);
    await file.sync();
    assert.deepEqual([readFileSync(log(), 'utf8'), heldBytes()], ['one', 0]);
  });

  it('makes the changes of a killed process, whichever of them were already made', async () => {
    const note = new NoteFile(join(state, 'note.json'), writer);
    const file = files.create(log());
    file.append(Buffer.from('one'));
    const removed = files.create(join(state, 'queues', '0.log'));
    removed.append(Buffer.from('removed'));
    await removed.sync();
    file.append(Buffer.from('two'));
    files.remove(join(state, 'queues', '0.log'));
    note.write({ at: 7 });
    await nextTurn();
    await nextTurn();
    const left = readFileSync(join(runtime, 'write-ahead.log'));
    for (let run = 0; run < 2; run += 1) {
      writeFileSync(join(runtime, 'write-ahead.log'), left);
      assert.equal(open().apply().error, undefined);
      assert.equal(readFileSync(log(), 'utf8'), 'onetwo');
      assert.equal(existsSync(join(state, 'queues', '0.log')), false);
      assert.equal(JSON.parse(readFileSync(join(state, 'note.json'), 'utf8')).at, 7);
      assert.equal(heldBytes(), 0);
    }
  });

  it('keeps notes that wait longer than the other changes', async () => {
    const note = new NoteFile(join(state, 'note.json'), writer);
    note.write({ at: 1 });
    await nextTurn();
    await writer.reached();
    note.write({ at: 2 });
    await nextTurn();
    await nextTurn();
    const file = files.create(log());
    await file.sync();
    assert.equal(JSON.parse(readFileSync(join(state, 'note.json'), 'utf8')).at, 1);
    open().apply();
    assert.equal(JSON.parse(readFileSync(join(state, 'note.json'), 'utf8')).at, 2);
  });

  it('writes to the disk at once when a megabyte is held', async () => {
    const file = files.create(log());
    for (let n = 0; n < 12; n += 1) file.append(Buffer.alloc(100_000, 'x'));
    await until(
      'all to be on disk',
      () => existsSync(log()) && statSync(log()).size === 1_200_000 && heldBytes() === 0,
    );
  });

  it('changes nothing outside of its directory and skips a torn change', () => {
    const outside = join(temporaryFolder(), 'outside');
    const ahead = open();
    ahead.add({ kind: 'put', path: outside, bytes: Buffer.from('x') });
    ahead.add({ kind: 'put', path: join(state, '..', 'outside'), bytes: Buffer.from('x') });
    ahead.add({ kind: 'put', path: join(state, 'inside'), bytes: Buffer.from('x') });
    ahead.add({ kind: 'put', path: join(state, 'torn'), bytes: Buffer.from('x') });
    const held = readFileSync(join(runtime, 'write-ahead.log'));
    writeFileSync(join(runtime, 'write-ahead.log'), held.subarray(0, -1));
    assert.ok(open().apply().error instanceof Error);
    assert.deepEqual(
      [outside, join(state, 'inside'), join(state, 'torn')].map((path) => existsSync(path)),
      [false, true, false],
    );
  });

  it('stays unused where the folder is not in memory', () => {
    assert.equal(WriteAhead.open(state, state), undefined);
  });
});
