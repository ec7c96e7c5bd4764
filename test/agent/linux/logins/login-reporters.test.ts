import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LoginReporters } from '../../../../src/agent/linux/logins/login-reporters.ts';
import { systemClock } from '../../../../src/core/base/clock.ts';
import { temporaryFolder } from '../../../harness/folders.ts';

describe('LoginReporters', () => {
  let proc: string;
  const reporters = (more: object = {}) => new LoginReporters({ proc, clock: systemClock, ...more });
  const addContainer = () => {
    mkdirSync(join(proc, '90'));
    writeFileSync(join(proc, '90/cgroup'), `0::/system.slice/docker-${'c0ffee'.padEnd(64, '0')}.scope\n`);
  };

  beforeEach(() => {
    proc = temporaryFolder();
    for (const [pid, image] of Object.entries({ 70: '/usr/sbin/sshd (deleted)', 71: '/usr/bin/login' })) {
      mkdirSync(join(proc, pid), { recursive: true });
      symlinkSync(image, join(proc, pid, 'exe'));
    }
  });

  it('returns the program of a known start, or else the image that the process runs', () => {
    const found = reporters({
      executableOf: (pid: number) => (pid === 71 ? '/usr/bin/seen' : undefined),
      containerOf: (pid: number) => (pid === 71 ? 'web' : undefined),
    });
    assert.deepEqual(found.of(70), { pid: 70, executable: '/usr/sbin/sshd' });
    assert.deepEqual(found.of(71), { pid: 71, executable: '/usr/bin/seen', containerId: 'web' });
  });

  it('returns only the number of an unknown process that has exited', () => {
    assert.deepEqual(reporters().of(72), { pid: 72 });
  });

  describe('on a host with containers', () => {
    beforeEach(addContainer);

    it('returns an unknown container for an exited process, even if its start was seen', () => {
      assert.deepEqual(reporters().of(72), { pid: 72, isUnlocated: true });
      const executable = '/usr/sbin/sshd';
      assert.deepEqual(reporters({ executableOf: () => executable }).of(72), {
        pid: 72,
        executable,
        isUnlocated: true,
      });
    });

    it('returns the container in which the process was last seen', () => {
      assert.deepEqual(reporters({ containerOf: () => 'web' }).of(72), { pid: 72, containerId: 'web' });
    });

    it('returns no container for a running process outside of containers', () => {
      assert.deepEqual(reporters().of(70), { pid: 70, executable: '/usr/sbin/sshd' });
    });
  });
});
