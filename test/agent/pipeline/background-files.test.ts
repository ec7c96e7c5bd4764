import assert from 'node:assert/strict';
import {
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import sinon from 'sinon';
import { BackgroundFiles } from '../../../src/agent/pipeline/background-files.ts';
import { collectGarbage } from '../../../src/agent/pipeline/memory-limit.ts';
import { systemFiles } from '../../../src/agent/pipeline/store-files.ts';
import { BackgroundWriter, MAX_TRIES, NotWritten, type Operation } from '../../../src/agent/state/background-writer.ts';
import { NoteFile } from '../../../src/agent/state/note-file.ts';
import { UnsavedFiles } from '../../../src/agent/state/unsaved-files.ts';
import { type Clock, systemClock } from '../../../src/core/base/clock.ts';
import { minutes, seconds } from '../../../src/core/base/duration.ts';
import { nextTurn } from '../../../src/core/base/waiting.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { HandClock } from './queue-fixture.ts';

const MAX_BYTES = 10_000;

describe('files that are changed in the background', () => {
  let folder: string;
  let writer: BackgroundWriter;
  let files: BackgroundFiles;
  let path: string;

  beforeEach(() => {
    folder = temporaryFolder();
    path = join(folder, 'log', 'a');
    writer = new BackgroundWriter({ clock: systemClock, maxBytes: MAX_BYTES });
    files = new BackgroundFiles(writer);
    files.makeFolder(join(folder, 'log'));
  });
  afterEach(async () => {
    await writer.settle(minutes(1));
  });

  const read = (length: number, offset = 0, at = path) => {
    const into = Buffer.alloc(length);
    return into.toString('utf8', 0, files.read(at, offset, into));
  };
  /** Holds everything that is asked for later until it is called, with what to fail with first. */
  const hold = () => {
    let go: (error?: Error) => void = () => {};
    const gate = new Promise<Error | undefined>((resolve) => {
      go = (error) => resolve(error);
    });
    let failed = false;
    const operation: Operation = {
      bytes: 0,
      run: async () => {
        const error = await gate;
        if (error === undefined || failed) return;
        failed = true;
        throw error;
      },
    };
    writer.add(operation);
    return go;
  };
  const errno = (code: string) => Object.assign(new Error(code), { code });

  it('reads return pending changes; the changes are on disk once settled', async () => {
    const go = hold();
    const file = files.create(path);
    file.append(Buffer.from('abc'));
    file.append(Buffer.from('defg'));
    assert.deepEqual([read(100), read(2), read(3, 2), read(10, 5), read(10, 7)], ['abcdefg', 'ab', 'cde', 'fg', '']);
    assert.equal(existsSync(path), false);
    go();
    await files.settled();
    assert.equal(readFileSync(path, 'utf8'), 'abcdefg');
    assert.equal(statSync(path).mode & 0o777, 0o600);
    file.append(Buffer.from('hi'));
    assert.deepEqual([read(100), read(3, 6)], ['abcdefghi', 'ghi']);
    await file.sync();
    file.append(Buffer.from('j'));
    await file.sync();
    file.close();
    assert.equal(readFileSync(path, 'utf8'), 'abcdefghij');
    assert.equal(read(100), 'abcdefghij');
  });

  it('copy what they are given', async () => {
    const bytes = Buffer.from('abc');
    const file = files.create(path);
    file.append(bytes);
    bytes.fill('x');
    await file.sync();
    assert.equal(readFileSync(path, 'utf8'), 'abc');
  });

  it('a file that is removed before it is written is never created', async () => {
    const go = hold();
    const file = files.create(path);
    file.append(Buffer.alloc(5_000));
    assert.equal(writer.bytes, 5_000);
    file.close();
    files.remove(path);
    assert.equal(writer.bytes, 0);
    go();
    await files.settled();
    assert.equal(existsSync(path), false);
  });

  it('changes are made in the requested order, including a blocking sync', async () => {
    const file = files.create(path);
    file.append(Buffer.from('a'));
    files.syncNow(path);
    const other = files.create(`${path}2`);
    other.append(Buffer.from('b'));
    files.remove(path);
    let existsAt: boolean[] = [];
    writer.add({
      bytes: 0,
      run: async () => {
        existsAt = [existsSync(path), existsSync(`${path}2`)];
      },
    });
    await files.settled();
    assert.deepEqual(existsAt, [false, true]);
  });

  it('a file is synced again only if data was appended while a sync waited', async () => {
    const sizes: number[] = [];
    const sync = sinon.stub(systemFiles, 'sync').callsFake(async (at) => void sizes.push(statSync(at).size));
    try {
      const go = hold();
      const file = files.create(path);
      file.append(Buffer.from('a'));
      files.syncNow(path);
      files.syncNow(path);
      file.append(Buffer.from('b'));
      files.syncNow(path);
      go();
      await files.settled();
      assert.deepEqual(sizes, [1, 2]);
    } finally {
      sync.restore();
    }
  });

  it('appends beyond the memory limit are rejected and reported until half of the data is written', async () => {
    const reportedFailures: unknown[] = [];
    files.onFailure((error) => reportedFailures.push((error as NodeJS.ErrnoException).code));
    const go = hold();
    const file = files.create(path);
    file.append(Buffer.alloc(MAX_BYTES));
    file.append(Buffer.alloc(1));
    assert.deepEqual(reportedFailures, [], 'reportedFailures while the caller is in the middle of a change');
    assert.throws(() => file.append(Buffer.alloc(1)), { code: 'EAGAIN' });
    assert.throws(() => files.create(`${path}2`), { code: 'EAGAIN' });
    await nextTurn();
    assert.deepEqual(reportedFailures, ['EAGAIN']);
    go();
    await files.settled();
    file.append(Buffer.alloc(1));
    await file.sync();
    assert.equal(statSync(path).size, MAX_BYTES + 2);
  });

  it('keep what the disk refuses, and are written when it is taken again', async () => {
    const reportedFailures: unknown[] = [];
    files.onFailure((error) => reportedFailures.push((error as NodeJS.ErrnoException).code));
    const file = files.create(path);
    await files.settled();
    const go = hold();
    file.append(Buffer.from('abc'));
    const synced = assert.rejects(file.sync(), NotWritten);
    go(errno('EROFS'));
    await synced;
    assert.throws(() => file.append(Buffer.from('d')), { code: 'EROFS' });
    file.truncate(3); // as who failed to append does
    assert.equal(read(10), 'abc');
    assert.match(writer.blockedReason ?? '', /EROFS/);
    await writer.settle(minutes(1));
    assert.deepEqual(
      [readFileSync(path, 'utf8'), writer.blockedReason, reportedFailures],
      ['abc', undefined, ['EROFS']],
    );
    file.append(Buffer.from('d'));
    await file.sync();
    assert.equal(readFileSync(path, 'utf8'), 'abcd');
  });

  it('removals are made first on a full disk, and new data is accepted immediately after them', async () => {
    const victim = files.create(path);
    victim.append(Buffer.from('old'));
    await files.settled();
    const go = hold();
    const file = files.create(`${path}2`);
    file.append(Buffer.from('new'));
    go(errno('EDQUOT'));
    await assert.rejects(file.sync(), NotWritten);
    await nextTurn();
    assert.throws(() => file.append(Buffer.from('er')), { code: 'EDQUOT' });
    files.remove(path);
    file.append(Buffer.from('er'));
    await systemClock.within(seconds(5), 'Writing', writer.settle(minutes(1)));
    assert.deepEqual([existsSync(path), readFileSync(`${path}2`, 'utf8')], [false, 'newer']);
  });

  it('a disk that has space again is not treated as full', async () => {
    const go = hold();
    const file = files.create(path);
    go(errno('ENOSPC'));
    await assert.rejects(file.sync(), NotWritten);
    file.append(Buffer.from('a'));
    await writer.settle(minutes(1));
    assert.equal(readFileSync(path, 'utf8'), 'a');
  });

  it('the data of a file that another process removed is lost without delaying other files', async () => {
    const file = files.create(path);
    file.append(Buffer.from('a'));
    await file.sync();
    rmSync(path);
    file.append(Buffer.from('b'));
    const other = files.create(`${path}2`);
    other.append(Buffer.from('c'));
    await files.settled();
    assert.equal(existsSync(path), false);
    assert.equal(readFileSync(`${path}2`, 'utf8'), 'c');
    assert.throws(() => file.append(Buffer.from('d')), { code: 'ENOENT' });
    assert.throws(() => read(1), { code: 'ENOENT' });
  });

  it('hold up no other when one of them cannot be removed', async () => {
    const reportedFailures: unknown[] = [];
    files.onFailure((error) => reportedFailures.push(error));
    const stuck = join(folder, 'log', 'stuck');
    mkdirSync(stuck);
    files.remove(stuck);
    const file = files.create(path);
    file.append(Buffer.from('a'));
    await files.settled();
    assert.equal(readFileSync(path, 'utf8'), 'a');
    assert.deepEqual(reportedFailures, []);
  });

  it('hold up no other when one of them cannot be removed on a full disk', async () => {
    const go = hold();
    const file = files.create(path);
    file.append(Buffer.from('a'));
    go(errno('ENOSPC'));
    mkdirSync(join(folder, 'log', 'stuck'));
    files.remove(join(folder, 'log', 'stuck'));
    await systemClock.within(seconds(5), 'Writing', writer.settle(minutes(1)));
    assert.equal(readFileSync(path, 'utf8'), 'a');
  });

  for (const code of ['EIO', 'EPERM']) {
    it(`give up what fails with ${code} for half a minute, and no other is held up`, async () => {
      const clock: Clock = { ...systemClock, sleep: () => nextTurn() };
      writer = new BackgroundWriter({ clock, maxBytes: MAX_BYTES });
      files = new BackgroundFiles(writer);
      let tries = 0;
      const add = writer.add.bind(writer);
      writer.add = (operation) =>
        add({
          ...operation,
          run: async () => {
            tries += 1;
            throw errno(code);
          },
        });
      if (code === 'EIO') files.create(path);
      files.remove(`${path}2`);
      writer.add = add;
      const other = files.create(`${path}3`);
      other.append(Buffer.from('c'));
      await writer.settle(minutes(1));
      assert.equal(readFileSync(`${path}3`, 'utf8'), 'c');
      assert.equal(tries, code === 'EIO' ? 60 : 1);
    });
  }

  it('files are written even if a failure listener throws', async () => {
    const uncaughtListeners = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    const caught = new Promise<unknown>((resolve) => process.once('uncaughtException', resolve));
    try {
      files.onFailure(() => {
        throw new Error('a defect');
      });
      const go = hold();
      const file = files.create(path);
      file.append(Buffer.from('a'));
      go(errno('EROFS'));
      assert.match(String(await caught), /a defect/);
    } finally {
      for (const listener of uncaughtListeners) process.on('uncaughtException', listener);
    }
    await writer.settle(minutes(1));
    assert.equal(readFileSync(path, 'utf8'), 'a');
  });

  it('written data is not kept in memory', async () => {
    const file = files.create(path);
    const operations: WeakRef<Operation>[] = [];
    const add = writer.add.bind(writer);
    writer.add = (operation) => {
      operations.push(new WeakRef(operation));
      add(operation);
    };
    for (let count = 0; count < 100; count += 1) {
      file.append(Buffer.from('x'));
      await files.settled();
    }
    await nextTurn();
    collectGarbage();
    const kept = operations.filter((operation) => operation.deref() !== undefined).length;
    assert.equal(operations.length, 100);
    assert.ok(kept < 10, `${kept} of 100 are kept`);
  });

  it('files and their folder are created again if the folder was removed', async () => {
    rmSync(join(folder, 'log'), { recursive: true });
    const file = files.create(path);
    file.append(Buffer.from('a'));
    await file.sync();
    assert.equal(readFileSync(path, 'utf8'), 'a');
  });

  describe('and notes', () => {
    const readNote = (file: string) => new NoteFile(file).read();
    const noted = (note: NoteFile) => JSON.stringify(readNote(join(folder, 'note')) ?? note.read());

    it('notes are written after the data that they describe, even if that data comes a turn later', async () => {
      const go = hold();
      const note = new NoteFile(join(folder, 'note'), writer);
      note.write({ at: 1 });
      void Promise.resolve().then(() => files.create(path).append(Buffer.from('a')));
      await nextTurn();
      let order: boolean[] = [];
      files.onFailure(() => {});
      go();
      while (!existsSync(join(folder, 'note'))) {
        order = [existsSync(path)];
        await nextTurn();
      }
      assert.deepEqual([order, existsSync(path)], [[true], true]);
      await writer.settle(minutes(1));
      assert.equal(noted(note), '{"at":1}');
    });

    it('wait while what they are about is only in memory', async () => {
      let holds = true;
      writer.holdsNotes = () => holds;
      const note = new NoteFile(join(folder, 'note'), writer);
      note.write({ at: 1 });
      await writer.settle(minutes(1));
      assert.equal(existsSync(join(folder, 'note')), false);
      assert.deepEqual(note.read(), { at: 1 });
      note.write({ at: 2 });
      await writer.settle(minutes(1));
      holds = false;
      writer.releaseNotes();
      await writer.settle(minutes(1));
      assert.equal(noted(note), '{"at":2}');
    });

    it('a note of any size replaces a longer one as a whole, and can be removed', async () => {
      const file = join(folder, 'note');
      const note = new NoteFile(file, writer);
      note.replace(JSON.stringify('x'.repeat(10_000)));
      await writer.settle(minutes(1));
      const open = openSync(file, 'r');
      note.replace('[1]');
      await writer.settle(minutes(1));
      assert.equal(readFileSync(file, 'utf8'), '[1]');
      assert.equal(fstatSync(open).size, 10_002, 'a kill in between would leave a mixture');
      closeSync(open);
      note.replace(undefined);
      await writer.settle(minutes(1));
      assert.deepEqual(readdirSync(folder), ['log']);
    });

    it('notes that could not be written are written before newer ones', async () => {
      const missing = join(folder, 'missing');
      const first = new NoteFile(join(missing, 'note'), writer);
      first.write({ at: 1 });
      await writer.settle(minutes(1));
      const note = new NoteFile(join(folder, 'note'), writer);
      note.write({ at: 2 });
      await writer.settle(minutes(1));
      assert.equal(existsSync(join(folder, 'note')), false, 'it may depend on the one before');
      mkdirSync(missing);
      note.write({ at: 3 });
      await writer.settle(minutes(1));
      assert.deepEqual([readNote(join(missing, 'note')), noted(note)], [{ at: 1 }, '{"at":3}']);
    });

    it('reports a note that could not be written until it is written', async () => {
      const unsaved = new UnsavedFiles();
      writer = new BackgroundWriter({ clock: systemClock, maxBytes: MAX_BYTES, unsaved });
      const missing = join(folder, 'missing');
      new NoteFile(join(missing, 'note'), writer).write({ at: 1 });
      await writer.settle(minutes(1));
      assert.equal(unsaved.describe(), 'note (ENOENT: no such file or directory)');
      mkdirSync(missing);
      new NoteFile(join(folder, 'other'), writer).write({ at: 2 }); // a failed note is written before the next one
      await writer.settle(minutes(1));
      assert.equal(unsaved.describe(), undefined);
    });

    it('notes of an unwritable file do not delay other notes, and still count as unwritten', async () => {
      const lost = new NoteFile(join(folder, 'missing', 'note'), writer);
      lost.write({ at: 1 });
      const note = new NoteFile(join(folder, 'note'), writer);
      for (let at = 1; at <= MAX_TRIES; at += 1) {
        note.write({ at });
        await writer.settle(minutes(1));
        if (at === 1) assert.equal(existsSync(join(folder, 'note')), false, 'it may depend on the one before');
      }
      assert.equal(noted(note), `{"at":${MAX_TRIES}}`);
      assert.deepEqual([...writer.unwritten().keys()], [join(folder, 'missing', 'note')]);
    });

    it('notes that must be written first are, even if they are newer', async () => {
      const order: string[] = [];
      const go = hold();
      for (const [path, writeFirst] of [
        ['held', true],
        ['checkpoint', false],
        ['held', true],
      ] as const)
        writer.note(path, { bytes: 0, writeFirst, write: async () => void order.push(path) });
      await nextTurn();
      go();
      await writer.settle(minutes(1));
      assert.deepEqual(order, ['held', 'checkpoint']);
    });

    it('notes that waited in memory are written before newer ones, all in their order', async () => {
      let holds = true;
      writer.holdsNotes = () => holds;
      const order: string[] = [];
      const note = (path: string, text: string) =>
        writer.note(path, { bytes: 0, write: async () => void order.push(text) });
      const go = hold();
      note('checkpoint', 'checkpoint 0');
      note('logins', 'logins 1');
      note('checkpoint', 'checkpoint 1');
      await nextTurn();
      writer.add({
        bytes: 0,
        run: async () => {
          holds = false;
        },
      });
      note('checkpoint', 'checkpoint 2');
      await nextTurn();
      go();
      await writer.settle(minutes(1));
      writer.releaseNotes();
      await writer.settle(minutes(1));
      assert.deepEqual(order, ['logins 1', 'checkpoint 2']);
    });

    it('never become older, though the older waited in memory while the newer was on its way', async () => {
      let holds = true;
      writer.holdsNotes = () => holds;
      const note = new NoteFile(join(folder, 'note'), writer);
      const first = hold();
      note.write({ at: 1 });
      await nextTurn();
      await nextTurn();
      let second: () => void = () => {};
      const reached = new Promise<void>((resolve) =>
        writer.add({
          bytes: 0,
          run: () => {
            resolve();
            return new Promise((done) => (second = done));
          },
        }),
      );
      note.write({ at: 2 });
      await nextTurn();
      await nextTurn();
      first();
      await reached;
      holds = false;
      second();
      await writer.settle(minutes(1));
      writer.releaseNotes();
      await writer.settle(minutes(1));
      assert.equal(noted(note), '{"at":2}');
    });

    it('never become older, though the newer had to wait for the next time that notes are written', async () => {
      const clock = new HandClock();
      writer = new BackgroundWriter({ clock, maxBytes: MAX_BYTES, notesEvery: minutes(10) });
      let holds = true;
      writer.holdsNotes = () => holds;
      const note = new NoteFile(join(folder, 'note'), writer);
      const go = hold();
      note.write({ at: 1 });
      await nextTurn();
      note.write({ at: 2 });
      go();
      await writer.reached();
      holds = false;
      await clock.advance(minutes(10));
      await nextTurn();
      await writer.reached();
      assert.equal(noted(note), '{"at":2}');
    });

    it('notes are written together, at most once per interval, and at exit', async () => {
      const clock = new HandClock();
      writer = new BackgroundWriter({ clock, maxBytes: MAX_BYTES, notesEvery: minutes(10) });
      const other = new NoteFile(join(folder, 'other'), writer);
      const note = new NoteFile(join(folder, 'note'), writer);
      const written = () => [join(folder, 'note'), join(folder, 'other')].map(readNote);
      const quiet = async () => {
        await nextTurn();
        await writer.reached();
      };
      note.write({ at: 1 });
      await quiet();
      note.write({ at: 2 });
      await quiet();
      await clock.advance(minutes(9));
      note.write({ at: 3 });
      other.write({ at: 4 });
      await quiet();
      assert.deepEqual(written(), [{ at: 1 }, undefined]);
      await clock.advance(minutes(1));
      await quiet();
      assert.deepEqual(written(), [{ at: 3 }, { at: 4 }]);
      note.write({ at: 5 });
      const settled = writer.settle(minutes(1));
      await quiet();
      await clock.advance(seconds(1));
      await settled;
      assert.deepEqual(written(), [{ at: 5 }, { at: 4 }]);
    });

    it('the first and the last of many notes are written, so that a steady flow cannot delay them forever', async () => {
      const go = hold();
      const note = new NoteFile(join(folder, 'note'), writer);
      const seen: string[] = [];
      for (let at = 1; at <= 5; at += 1) {
        note.write({ at });
        await nextTurn();
        await nextTurn();
        const file = files.create(`${path}${at}`);
        file.append(Buffer.from('x'));
      }
      writer.add({ bytes: 0, run: async () => void seen.push(noted(note)) });
      go();
      await writer.settle(minutes(1));
      assert.deepEqual([seen, noted(note)], [['{"at":5}'], '{"at":5}']);
    });
  });
});
