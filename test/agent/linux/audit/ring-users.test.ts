import assert from 'node:assert/strict';
import sinon from 'sinon';
import type { AuditEvent } from '../../../../src/agent/linux/audit/event.ts';
import { RingUsers, withRings } from '../../../../src/agent/linux/audit/io-uring.ts';
import { systemClock } from '../../../../src/core/base/clock.ts';
import type { LogLine } from '../../../../src/core/base/log.ts';
import { quietLog } from '../../pipeline/memory-queues.ts';

const setup = (
  exe: string,
  { euid = '1000', pid = '7', success = true, syscall = 'io_uring_setup' } = {},
): AuditEvent => ({
  time: new Date(),
  serial: 1,
  syscall,
  success,
  fields: { exe, euid, pid },
});

describe('RingUsers', () => {
  let time: sinon.SinonFakeTimers;
  let logged: LogLine[];
  let users: RingUsers;

  beforeEach(() => {
    time = sinon.useFakeTimers({ toFake: ['Date', 'performance'] });
    logged = [];
    users = new RingUsers({ clock: systemClock, log: quietLog(logged) });
  });
  afterEach(() => time.restore());

  it('reports each program and user once', () => {
    users.accept([setup('/usr/bin/a'), setup('/usr/bin/a', { pid: '8' }), setup('/usr/bin/a', { euid: '0' })]);
    assert.deepEqual(
      logged.map(({ level, id }) => [level, id]),
      [
        ['warn', 'IO_URING_USED'],
        ['warn', 'IO_URING_USED'],
      ],
    );
    assert.match(logged[0]?.message ?? '', /\/usr\/bin\/a \(process 7, user 1000\) has set up an io_uring/);
  });

  it('skips the agent itself, failures and other calls', () => {
    users.accept([
      setup('/usr/bin/node', { pid: String(process.pid) }),
      setup('/usr/bin/a', { success: false }),
      setup('/usr/bin/b', { syscall: 'connect' }),
    ]);
    assert.equal(logged.length, 0);
  });

  it('reports a few per minute, then the number omitted, in bounded memory', () => {
    users.accept(Array.from({ length: 5_000 }, (_, index) => setup(`/tmp/${index}`)));
    assert.equal(logged.length, 5);
    time.tick(60_000);
    users.accept([setup('/usr/bin/a')]);
    assert.match(logged[5]?.message ?? '', /; 4995 other programs did so before/);
  });

  it('drops all entries when there are too many, and reports them again', () => {
    users.accept(Array.from({ length: 1_001 }, (_, index) => setup(`/tmp/${index}`)));
    const before = logged.length;
    time.tick(60_000);
    users.accept([setup('/tmp/1000')]);
    assert.equal(logged.length, before);
    users.accept([setup('/tmp/0')]);
    assert.equal(logged.length, before + 1);
  });

  it('writes no character that could move a cursor', () => {
    users.accept([setup('/tmp/\u001b[2J')]);
    assert.ok(!logged[0]?.message.includes('\u001b'));
  });
});

describe('the rule on io_uring_setup', () => {
  const rule = (...syscalls: string[]) => ({ syscalls, where: { success: 1 as const } });
  const isSet = (...rules: ReturnType<typeof rule>[]) =>
    withRings(rules).some(({ syscalls }) => syscalls.includes('io_uring_setup'));

  it('is set while connections, starts of programs, or both are requested', () => {
    assert.equal(isSet(rule('execve', 'execveat')), true);
    assert.equal(isSet(rule('connect')), true);
    assert.equal(isSet(rule('execve'), rule('connect')), true);
  });

  it('is not set when neither is requested', () => {
    assert.equal(isSet(), false);
    assert.equal(isSet(rule('unlink')), false);
  });
});
