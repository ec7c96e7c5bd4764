import assert from 'node:assert/strict';
import { join } from 'node:path';
import { lockFile } from '../../../../src/agent/linux/self/file-lock.ts';
import { temporaryFolder } from '../../../harness/folders.ts';

describe('FileLock', () => {
  let folder: string;

  beforeEach(() => {
    folder = temporaryFolder();
  });

  it('is refused while another process holds it, and granted afterwards', () => {
    const path = join(folder, 'lock');
    const release = lockFile(path);
    assert.throws(() => lockFile(path), { id: 'AGENT_RUNNING' });
    release();
    lockFile(path)();
  });

  it("throws the file system's error", () => {
    assert.throws(() => lockFile(join(folder, 'none', 'lock')), { code: 'ENOENT' });
  });
});
