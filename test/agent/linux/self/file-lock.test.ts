import assert from 'node:assert/strict';
import { join } from 'node:path';
import { lockFile } from '../../../../src/agent/linux/self/file-lock.ts';
import { temporaryFolder } from '../../../harness/folders.ts';

describe('A file lock', () => {
  let folder: string;

  beforeEach(() => {
    folder = temporaryFolder();
  });

  it('is refused while somebody holds it, and given again after that', () => {
    const path = join(folder, 'lock');
    const release = lockFile(path);
    assert.throws(() => lockFile(path), { id: 'AGENT_RUNNING' });
    release();
    lockFile(path)();
  });

  it('says what the file system says', () => {
    assert.throws(() => lockFile(join(folder, 'none', 'lock')), { code: 'ENOENT' });
  });
});
