import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { keptAgentId, useStateDirectory } from '../../../src/agent/composition/state-directory.ts';
import type { AgentError } from '../../../src/core/base/errors.ts';
import { createLog } from '../../../src/core/base/log.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { skip } from '../../harness/require.ts';

describe('The state directory', () => {
  const log = createLog({ level: 'silent' });
  const refusal = (call: () => unknown): AgentError => {
    try {
      call();
    } catch (error) {
      return error as AgentError;
    }
    return assert.fail('not refused');
  };
  let folder: string;
  beforeEach(() => {
    folder = temporaryFolder();
  });

  it('a directory below a dangling symbolic link is refused with an error that names it', () => {
    symlinkSync(join(folder, 'not-mounted'), join(folder, 'disk'));
    for (const directory of ['disk', 'disk/state']) {
      const { id, message, remedy } = refusal(() => useStateDirectory(join(folder, directory), log));
      assert.equal(id, 'STATE_DIRECTORY_UNUSABLE');
      assert.match(message, /\/disk is a symbolic link to a path that does not exist$/);
      assert.match(remedy, /^Mount the file system it points to/);
    }
  });

  it('is refused below a file', () => {
    const { id, exitStatus } = refusal(() => useStateDirectory('/dev/null/x', log));
    assert.deepEqual([id, exitStatus], ['STATE_DIRECTORY_UNUSABLE', 70]);
  });

  describe('on a full disk', () => {
    let disk: string;
    beforeEach(function () {
      if (process.getuid?.() !== 0) return skip(this, 'mounting takes root');
      disk = join(folder, 'full');
      mkdirSync(disk);
      // One inode is for the root of the file system.
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k,nr_inodes=1,mode=0700', 'tmpfs', disk]);
    });
    afterEach(() => {
      if (disk !== undefined) execFileSync('umount', ['--lazy', disk]);
    });

    it('lets the agent start, with an id for this run', () => {
      useStateDirectory(join(disk, 'state'), log);
      useStateDirectory(disk, log);
      assert.match(keptAgentId(join(disk, 'agent-id'), log), /^[0-9a-f-]{36}$/);
    });

    it('is locked as a folder while its lock file cannot be created', () => {
      execFileSync('mount', ['-o', 'remount,ro', disk]);
      useStateDirectory(disk, log);
      const { status } = spawnSync('flock', ['--nonblock', disk, 'true']);
      assert.equal(status, 1);
    });
  });
});
