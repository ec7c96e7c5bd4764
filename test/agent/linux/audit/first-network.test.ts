import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isInFirstNetwork } from '../../../../src/agent/linux/audit/audit-source.ts';
import { skip } from '../../../harness/require.ts';

describe('isInFirstNetwork', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'vakt-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('recognises the first network namespace by its well-known inode', () => {
    assert.equal(isInFirstNetwork(folder), true); // hidden
    writeFileSync(join(folder, 'somaxconn'), '');
    assert.equal(isInFirstNetwork(folder), false);
    writeFileSync(join(folder, 'netdev_max_backlog'), '');
    assert.equal(isInFirstNetwork(folder), true);
  });

  it('recognises another namespace of this kernel', function () {
    const { status, stdout } = spawnSync('unshare', ['--net', 'ls', '/proc/sys/net/core'], { encoding: 'utf8' });
    if (status !== 0) skip(this, 'making a network namespace takes root');
    for (const name of stdout.trim().split('\n')) writeFileSync(join(folder, name), '');
    assert.equal(isInFirstNetwork(folder), false);
  });
});
