import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { LoginReporters } from '../../../src/linux/logins/login-reporters.ts';
import { temporaryFolder } from '../../support/folders.ts';

describe('LoginReporters', () => {
  let proc: string;

  beforeEach(() => {
    proc = temporaryFolder();
    for (const [pid, image] of Object.entries({ 70: '/usr/sbin/sshd (deleted)', 71: '/usr/bin/login' })) {
      mkdirSync(join(proc, pid));
      symlinkSync(image, join(proc, pid, 'exe'));
    }
  });

  it('are found by the start of their program, else by the image that they run', () => {
    const reporters = new LoginReporters({
      proc,
      executableOf: (pid) => (pid === 71 ? '/usr/bin/seen' : undefined),
      containerOf: (pid) => (pid === 71 ? 'web' : undefined),
    });
    assert.deepEqual(reporters.of(70), { pid: 70, executable: '/usr/sbin/sshd' });
    assert.deepEqual(reporters.of(71), { pid: 71, executable: '/usr/bin/seen', containerId: 'web' });
  });

  it('are only a number when they have ended and nobody has seen them', () => {
    assert.deepEqual(new LoginReporters({ proc }).of(72), { pid: 72 });
  });
});
