import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isRootOwned } from '../../../src/agent/host/file-state.ts';
import { LocalFiles } from '../../../src/agent/host/local-files.ts';
import { openCached } from '../../../src/agent/linux/native/cached-names.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { require } from '../../harness/require.ts';

describe('isRootOwned', () => {
  let root: string;
  let files: LocalFiles;

  beforeEach(function () {
    require(this, process.getuid?.() === 0 ? undefined : 'this is not root');
    root = temporaryFolder();
    mkdirSync(join(root, 'usr/bin'), { recursive: true });
    mkdirSync(join(root, 'home/alice'), { recursive: true });
    mkdirSync(join(root, 'tmp'));
    for (const path of ['usr/bin/runc', 'tmp/runc', 'home/alice/runc'])
      writeFileSync(join(root, path), '', { mode: 0o755 });
    chmodSync(join(root, 'tmp'), 0o1777);
    chownSync(join(root, 'home/alice'), 1_000, 1_000);
    files = new LocalFiles({ proc: join(root, 'proc'), root, clock: systemClock, openCached: openCached() });
  });

  it('returns true for files that only root can replace', () => {
    assert.equal(isRootOwned(files, '/usr/bin/runc'), true);
  });

  it('returns false below a directory that another user can write, even for root’s files', () => {
    assert.equal(isRootOwned(files, '/tmp/runc'), false);
    assert.equal(isRootOwned(files, '/home/alice/runc'), false);
  });

  it('returns false for a file that another user can write', () => {
    chmodSync(join(root, 'usr/bin/runc'), 0o775);
    assert.equal(isRootOwned(files, '/usr/bin/runc'), false);
  });

  it('returns false for a missing path, a directory, or a path through a link', () => {
    symlinkSync('usr', join(root, 'link'));
    for (const path of [
      '/usr/bin/crun',
      '/usr/bin',
      '/link/bin/runc',
      '/usr/bin/runc (deleted)',
      '',
      'usr',
      '/',
      '/memfd:runc',
    ])
      assert.equal(isRootOwned(files, path), false, path);
  });
});
