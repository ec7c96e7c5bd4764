import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, lchownSync, linkSync, mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readNamedFile, readPlainFile } from '../../src/base/plain-file.ts';
import { temporaryFolder } from '../support/folders.ts';
import { skip } from '../support/require.ts';

describe('Files that others can exchange', () => {
  let folder: string;
  const path = (name: string) => join(folder, name);

  beforeEach(() => {
    folder = temporaryFolder();
    writeFileSync(path('file'), 'text');
  });

  for (const [what, read] of [
    ['readPlainFile', readPlainFile],
    ['readNamedFile', readNamedFile],
  ] as const) {
    describe(what, () => {
      it('reads a file up to its limit', () => {
        assert.equal(read(path('file'), 4), 'text');
        assert.throws(() => read(path('file'), 3), { code: 'EFBIG' });
      });

      it('takes no huge file, directory, named pipe or device, and waits for none', () => {
        writeFileSync(path('huge'), '');
        truncateSync(path('huge'), 1e12);
        mkdirSync(path('folder'));
        execFileSync('mkfifo', [path('pipe')]);
        assert.throws(() => read(path('huge'), 1_000), { code: 'EFBIG' });
        for (const name of [path('folder'), path('pipe'), '/dev/zero']) {
          assert.throws(() => read(name, 1_000), { code: 'EINVAL' });
        }
      });

      it('says that a file is missing', () => assert.throws(() => read(path('none'), 1), { code: 'ENOENT' }));
    });
  }

  it('readPlainFile follows no link of either kind', () => {
    symlinkSync('/etc/hostname', path('link'));
    linkSync(path('file'), path('other'));
    assert.throws(() => readPlainFile(path('link'), 1_000), { code: 'ELOOP' });
    assert.throws(() => readPlainFile(path('other'), 1_000), { code: 'EINVAL' });
  });

  it('readNamedFile follows a link that only trusted users can have made', () => {
    symlinkSync('file', path('link'));
    assert.equal(readNamedFile(path('link'), 1_000), 'text');
    chmodSync(folder, 0o777);
    assert.throws(() => readNamedFile(path('link'), 1_000), { code: 'ELOOP' });
  });

  it('readNamedFile follows no link that somebody else has made', function () {
    if (process.getuid?.() !== 0) skip(this, 'needs root, to make a link of another user');
    symlinkSync('file', path('link'));
    lchownSync(path('link'), 65_534, 65_534);
    assert.throws(() => readNamedFile(path('link'), 1_000), { code: 'ELOOP' });
  });
});
