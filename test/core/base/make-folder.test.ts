import assert from 'node:assert/strict';
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeFolder } from '../../../src/core/base/make-folder.ts';
import { temporaryFolder } from '../../harness/folders.ts';

describe('makeFolder', () => {
  it('makes a folder with those above it, and leaves one that exists', () => {
    const path = join(temporaryFolder(), 'a', 'b', 'c');
    makeFolder(path, 0o700);
    makeFolder(path, 0o755);
    assert.equal(statSync(path).mode & 0o777, 0o700);
    assert.equal(statSync(join(path, '..')).mode & 0o777, 0o700);
  });

  it('throws where there is a file', () => {
    const file = join(temporaryFolder(), 'file');
    writeFileSync(file, '');
    assert.throws(() => makeFolder(file, 0o700), { code: 'EEXIST' });
    assert.throws(() => makeFolder(join(file, 'below'), 0o700), { code: 'ENOTDIR' });
  });

  it('throws where nothing can be made, instead of trying for ever', () => {
    assert.throws(() => makeFolder('/proc/vakt', 0o700), { code: 'ENOENT' });
    assert.throws(() => makeFolder('/proc/vakt/below', 0o700), { code: 'ENOENT' });
  });
});
