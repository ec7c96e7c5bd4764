import assert from 'node:assert/strict';
import { chownSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { AuditPrograms } from '../../../../src/agent/linux/audit/audit-programs.ts';
import { systemClock } from '../../../../src/core/base/clock.ts';
import { temporaryFolder } from '../../../harness/folders.ts';
import { require } from '../../../harness/require.ts';

const AUDITD = '/usr/sbin/auditd';
const JOURNALD = '/usr/lib/systemd/systemd-journald';

describe('AuditPrograms', () => {
  let root: string;
  let programs: AuditPrograms;

  before(function () {
    require(this, process.getuid?.() === 0 ? undefined : 'needs root, to make files that are root’s');
  });
  beforeEach(() => {
    root = temporaryFolder();
    for (const path of [AUDITD, JOURNALD, '/sbin/init', '/tmp/auditd']) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), '', { mode: 0o755 });
    }
    programs = new AuditPrograms({ hostRoot: root, clock: systemClock });
    live(1, '/sbin/init');
  });

  /** A process that runs the program at a path below the root. */
  const live = (pid: number, path: string) => {
    mkdirSync(join(root, `proc/${pid}`), { recursive: true });
    symlinkSync(join(root, path), join(root, `proc/${pid}/exe`));
  };

  it('recognises auditd, and the journal as a listener, by their executable files', () => {
    live(7, AUDITD);
    live(8, JOURNALD);
    assert.deepEqual([programs.isDaemon({ pid: 7 }), programs.isLogger({ pid: 7 })], [true, true]);
    assert.deepEqual([programs.isDaemon({ pid: 8 }), programs.isLogger({ pid: 8 })], [false, true]);
  });

  it('accepts no other program as auditd, regardless of the path in its record', () => {
    live(7, '/tmp/auditd');
    assert.equal(programs.isDaemon({ pid: 7, executable: AUDITD }), false);
    assert.equal(programs.isLogger({ pid: 7, executable: AUDITD }), false);
  });

  it('does not trust a program that other users than root can change', () => {
    live(7, AUDITD);
    chownSync(join(root, AUDITD), 1_000, 0);
    assert.equal(programs.isDaemon({ pid: 7, executable: AUDITD }), false);
  });

  it('trusts the path in a record only if processes of root are hidden from the agent', () => {
    assert.equal(programs.isDaemon({ pid: 7, executable: AUDITD }), false);
    rmSync(join(root, 'proc/1/exe'));
    assert.equal(programs.isDaemon({ pid: 7, executable: AUDITD }), true);
    assert.equal(programs.isDaemon({ pid: 7, executable: '/tmp/auditd' }), false);
    assert.equal(programs.isDaemon({ pid: 7 }), false);
  });
});
