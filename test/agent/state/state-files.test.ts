import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, statSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import sinon from 'sinon';
import { BackgroundStateFiles, type StateFiles } from '../../../src/agent/state/state-files.ts';
import { UnsavedFiles } from '../../../src/agent/state/unsaved-files.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { minutes, seconds } from '../../../src/core/base/duration.ts';
import { Lane } from '../../../src/core/base/lane.ts';
import { nextTurn } from '../../../src/core/base/waiting.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { HandClock } from '../pipeline/queue-fixture.ts';
import { immediateStateFiles } from './immediate-state-files.ts';

describe('state files', () => {
  let folder: string;
  let path: string;

  beforeEach(() => {
    folder = temporaryFolder();
    path = join(folder, 'a.json');
  });

  const replaced = (files: StateFiles, contents: string, at = path) =>
    new Promise<unknown>((resolve) => files.replace(at, contents, resolve));
  const removed = (files: StateFiles, at = path) => new Promise<unknown>((resolve) => files.remove(at, resolve));

  for (const [name, make] of [
    ['changed at once', () => immediateStateFiles],
    ['changed in the background', () => new BackgroundStateFiles({ clock: systemClock })],
  ] as const) {
    describe(name, () => {
      let files: StateFiles;
      beforeEach(() => {
        files = make();
      });
      afterEach(() => files.settled());

      it('files are replaced, private, and leave no temporary file', async () => {
        for (const contents of ['a longer text é', 'short']) {
          assert.equal(await replaced(files, contents), undefined);
          assert.equal(readFileSync(path, 'utf8'), contents);
        }
        assert.equal(statSync(path).mode & 0o777, 0o600);
        assert.deepEqual(readdirSync(folder), ['a.json']);
      });

      it('files are removed, even if they no longer exist', async () => {
        await replaced(files, 'x');
        assert.equal(await removed(files), undefined);
        assert.equal(existsSync(path), false);
        assert.equal(await removed(files), undefined);
      });

      it('a failed replacement is reported with its reason, and other files are still replaced', async () => {
        mkdirSync(path);
        const other = join(folder, 'b.json');
        const [error, fine] = await Promise.all([replaced(files, 'x'), replaced(files, 'y', other)]);
        assert.ok(error instanceof Error);
        assert.equal(fine, undefined);
        assert.deepEqual(readdirSync(folder).sort(), ['a.json', 'b.json']);
      });
    });
  }

  describe('in the background', () => {
    it('files are unchanged when the call returns, and changed once settled', async () => {
      const files = new BackgroundStateFiles({ clock: systemClock });
      files.replace(path, 'x', () => {});
      assert.equal(existsSync(path), false);
      await files.settled();
      assert.equal(readFileSync(path, 'utf8'), 'x');
      assert.equal(await removed(files), undefined);
      assert.equal(existsSync(path), false);
      await files.settled();
    });

    it('changes made while the disk is busy are written once per file, the last one of each', async () => {
      const lane = new Lane();
      const files = new BackgroundStateFiles({ clock: systemClock, lane });
      let release = () => {};
      void lane.run(() => new Promise<void>((resolve) => (release = resolve)));
      const first = replaced(files, 'first');
      await nextTurn();
      let batches = 0;
      const run = lane.run.bind(lane);
      lane.run = (work) => {
        batches += 1;
        return run(work);
      };
      const later = Array.from({ length: 100 }, (_, index) => replaced(files, `later ${index}`));
      release();
      await files.settled();
      assert.deepEqual([await first, ...(await Promise.all(later))], Array(101).fill(undefined));
      assert.equal(readFileSync(path, 'utf8'), 'later 99');
      assert.equal(batches, 1);
    });

    it('files are written even after a callback throws, which is an uncaught exception', async () => {
      const uncaughtListeners = process.listeners('uncaughtException');
      process.removeAllListeners('uncaughtException');
      const planted = new Error('planted');
      try {
        const uncaught = new Promise((resolve) => process.once('uncaughtException', resolve));
        const files = new BackgroundStateFiles({ clock: systemClock });
        files.replace(path, 'x', () => {
          throw planted;
        });
        assert.equal(await replaced(files, 'y', join(folder, 'b.json')), undefined);
        assert.equal(await uncaught, planted);
        assert.equal(await replaced(files, 'z'), undefined);
        await files.settled();
      } finally {
        for (const listener of uncaughtListeners) process.on('uncaughtException', listener);
      }
    });

    it('reports a file that could not be saved, and repeats the change until it is saved', async () => {
      const clock = new HandClock();
      let changes = 0;
      const unsaved = new UnsavedFiles(() => {
        changes += 1;
      });
      const files = new BackgroundStateFiles({ clock, unsaved });
      const other = join(folder, 'b.json');
      mkdirSync(path);
      assert.ok((await replaced(files, 'x')) instanceof Error);
      assert.match(unsaved.describe() ?? '', /^a\.json \(E[A-Z]+: [a-z ]+\)$/);
      await files.settled();
      rmdirSync(path);
      assert.equal(await replaced(files, 'y', other), undefined); // too early for a repetition
      await files.settled();
      assert.equal(existsSync(path), false);
      await clock.advance(minutes(1));
      assert.equal(await replaced(files, 'z', other), undefined);
      await files.settled();
      assert.equal(readFileSync(path, 'utf8'), 'x');
      assert.deepEqual([unsaved.describe(), changes], [undefined, 2]);
    });

    it('does not repeat a change after a newer one of the same file', async () => {
      const clock = new HandClock();
      const unsaved = new UnsavedFiles();
      const files = new BackgroundStateFiles({ clock, unsaved });
      mkdirSync(path);
      await replaced(files, 'old');
      await files.settled();
      rmdirSync(path);
      await clock.advance(minutes(2));
      assert.equal(await removed(files), undefined);
      await clock.advance(minutes(2));
      await replaced(files, 'z', join(folder, 'b.json'));
      await files.settled();
      assert.deepEqual([existsSync(path), unsaved.describe()], [false, undefined]);
    });

    describe('to be made later', () => {
      let clock: HandClock;
      let files: BackgroundStateFiles;
      const later = (contents: string, name = 'a.json') =>
        new Promise<unknown>((resolve) => files.replace(join(folder, name), contents, resolve, 'later'));
      const done = (change: Promise<unknown>) => systemClock.within(seconds(10), 'Replacing a file', change);

      beforeEach(() => {
        clock = new HandClock();
        files = new BackgroundStateFiles({ clock, laterAfter: minutes(10) });
      });

      it('delayed changes are made together when the first of them is due', async () => {
        const changes = [later('x'), later('y', 'b.json')];
        await clock.advance(minutes(10) - 1);
        changes.push(later('z', 'c.json'));
        await clock.advance(0);
        assert.deepEqual(readdirSync(folder), []);
        await clock.advance(1);
        await done(Promise.all(changes));
        assert.deepEqual(readdirSync(folder).sort(), ['a.json', 'b.json', 'c.json']);
        const next = later('w');
        await clock.advance(seconds(1)); // the pause between two batches
        await clock.advance(seconds(1));
        assert.equal(readFileSync(path, 'utf8'), 'x');
        await clock.advance(minutes(10));
        await done(next);
        assert.equal(readFileSync(path, 'utf8'), 'w');
      });

      it('delayed changes are made together with urgent ones', async () => {
        const first = later('x');
        await clock.advance(seconds(1));
        assert.deepEqual(readdirSync(folder), []);
        await done(replaced(files, 'y', join(folder, 'b.json')));
        await done(first);
        assert.deepEqual(readdirSync(folder).sort(), ['a.json', 'b.json']);
      });

      it('delayed changes are made when a caller waits for them', async () => {
        const change = later('x');
        await clock.advance(0);
        await done(files.settled());
        assert.equal(await change, undefined);
        assert.equal(readFileSync(path, 'utf8'), 'x');
      });

      it('delayed changes are made when the process is about to exit', async () => {
        const change = later('x');
        await clock.advance(0);
        files.hurry();
        await done(change);
        assert.equal(readFileSync(path, 'utf8'), 'x');
      });
    });

    describe('of a process that is about to end', () => {
      /** The same object for all files. */
      const handles = async () => {
        const file = await open(folder, 'r');
        await file.close();
        return Object.getPrototypeOf(file) as FileHandle;
      };
      let sync: sinon.SinonStub | undefined;
      let resume: () => void;

      beforeEach(async () => {
        const synced = new Promise<void>((resolve) => (resume = resolve));
        sync = sinon.stub(await handles(), 'sync').returns(synced);
      });
      afterEach(() => {
        resume();
        sync?.restore();
      });
      const isReplaced = async (files: BackgroundStateFiles, contents: string, name = 'a.json') => {
        await systemClock.within(seconds(10), 'Replacing a file', replaced(files, contents, join(folder, name)));
        assert.equal(readFileSync(join(folder, name), 'utf8'), contents);
      };

      it('changes are not lost while a long sync is in flight', async () => {
        const files = new BackgroundStateFiles({ clock: systemClock });
        const before = replaced(files, 'before');
        while (sync?.callCount === 0) await nextTurn();
        assert.deepEqual([...files.unwritten()], [[path, 6]]);
        files.replace(join(folder, 'b.json'), 'é', () => {});
        assert.deepEqual([...files.unwritten().values()], [6, 2]);
        files.hurry();
        await isReplaced(files, 'end', 'c.json');
        assert.equal(await before, undefined);
        assert.equal(readFileSync(path, 'utf8'), 'before');
        assert.deepEqual([...files.unwritten()], []);
        assert.equal(sync?.callCount, 1, 'a sync that can only come too late was begun');
      });

      it('wait for no sync of uncaughtListeners', async () => {
        const lane = new Lane();
        void lane.run(() => new Promise(() => {}));
        const files = new BackgroundStateFiles({ clock: systemClock, lane });
        resume();
        const before = replaced(files, 'before');
        files.hurry();
        await isReplaced(files, 'end', 'c.json');
        assert.equal(await before, undefined);
        assert.equal(sync?.callCount, 3, 'both files and their folder can be synced in time');
      });
    });
  });
});
