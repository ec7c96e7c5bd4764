import assert from 'node:assert/strict';
import type { AuditEvent } from '../../../../src/agent/linux/audit/event.ts';
import type { EventSource, SourceHost } from '../../../../src/agent/linux/streams/event-source.ts';
import { starts as declared, START_RULES, startOf } from '../../../../src/agent/linux/streams/starts.ts';
import type { LogLine } from '../../../../src/core/base/log.ts';
import { MalformedRecordError } from '../../../../src/core/contract/collector.ts';
import type { ProcessStarted, StreamSink } from '../../../../src/core/contract/streams.ts';
import { quietLog } from '../../pipeline/memory-queues.ts';

const time = new Date('2024-05-01T12:00:00.123Z');
const argv = ['ls', '-l', '/tmp'];
const execve: AuditEvent = {
  time,
  serial: 547,
  syscall: 'execve',
  abi: 'b64',
  success: true,
  fields: {
    exe: '/usr/bin/ls',
    pid: '1445',
    ppid: '1444',
    uid: '1000',
    euid: '1000',
    auid: '1000',
    tty: 'pts0',
    comm: 'ls',
  },
  argv,
  commandLine: 'ls -l /tmp',
  cwd: '/home/alice',
};
const { syscall: _, ...withoutSyscall } = execve;
const { commandLine: __, ...withoutArguments } = execve;

const startWith = (change: Partial<AuditEvent>) => startOf({ ...execve, ...change });
const withFields = (change: AuditEvent['fields']) => startWith({ fields: { ...execve.fields, ...change } });

/** What is known, by name; a member that is undefined counts as absent. */
const known = (start: ProcessStarted | undefined) =>
  Object.fromEntries(Object.entries(start ?? assert.fail()).filter(([, value]) => value !== undefined));

describe('A start of a program in audit', () => {
  it('says the program, its arguments and who started it', () => {
    assert.deepEqual(known(startOf(execve)), {
      time,
      serial: 547,
      pid: 1445,
      parentPid: 1444,
      userId: 1000,
      loginUserId: 1000,
      executable: '/usr/bin/ls',
      startedAt: time,
      commandLine: 'ls -l /tmp',
      argv,
      cwd: '/home/alice',
      terminal: 'pts0',
    });
  });

  it('is the same by execveat', () => assert.deepEqual(startWith({ syscall: 'execveat' }), startOf(execve)));

  it('names the user it runs as, not the one who called: su', () => {
    assert.equal(withFields({ uid: '1000', euid: '0' })?.userId, 0);
  });

  it('has the user who started a set-user-id program', () => {
    assert.equal(withFields({ uid: '1000', euid: '0' })?.realUserId, 1000);
    assert.equal(withFields({ uid: '1000', euid: '1000' })?.realUserId, undefined);
    assert.throws(() => withFields({ uid: 'x', euid: '0' }), MalformedRecordError);
  });

  it('has no login user and no terminal when it is a service', () => {
    const start = withFields({ auid: '4294967295', tty: '(none)' });
    assert.deepEqual([start?.loginUserId, start?.terminal], [undefined, undefined]);
    assert.equal(withFields({ auid: undefined })?.loginUserId, undefined);
  });

  it('says what IMA has measured, and what was cut from its arguments', () => {
    const start = startWith({ imaHash: 'sha256:00', argvBytesCut: 70_000 });
    assert.deepEqual([start?.imaHash, start?.commandLineBytesCut], ['sha256:00', 70_000]);
  });

  it('may have no arguments', () => assert.equal(startWith({ commandLine: '', argv: [] })?.commandLine, ''));

  it('has the same members whatever is known, so that all starts have one shape', () => {
    const { cwd: ___, argv: ____, ...least } = execve;
    const start = startOf({ ...least, argvBytesCut: 1, imaHash: 'sha1:0' });
    assert.deepEqual(Object.keys(start ?? {}), Object.keys(startOf(execve) ?? {}));
  });

  for (const [what, event] of Object.entries({
    'an execve that failed': { ...execve, success: false },
    'another system call': { ...execve, syscall: 'connect' },
    'an event without a system call': withoutSyscall,
  } satisfies Record<string, AuditEvent>)) {
    it(`is not ${what}`, () => assert.equal(startOf(event), undefined));
  }

  for (const field of ['exe', 'pid', 'ppid', 'euid']) {
    for (const value of [undefined, '', '(null)', 'x1']) {
      if (field === 'exe' && value === 'x1') continue;
      it(`is refused when its ${field} is ${value ?? 'missing'}`, () => {
        assert.throws(() => withFields({ [field]: value }), MalformedRecordError);
      });
    }
  }

  it('is refused when its arguments are missing', () => {
    assert.throws(() => startOf(withoutArguments), MalformedRecordError);
  });
});

describe('The source of starts', () => {
  let told: unknown[][];
  let logged: LogLine[];
  let starts: EventSource;

  beforeEach(() => {
    told = [];
    logged = [];
    const sink = {
      accept: (stream, records) => told.push([stream, ...(records as readonly ProcessStarted[]).map(({ pid }) => pid)]),
      drop: (...loss) => told.push(loss),
    } as StreamSink;
    starts = declared.make({ sink, log: quietLog(logged) } as unknown as SourceHost);
    starts.prepare?.(true);
  });

  const ofPid = (pid: string): AuditEvent => ({ ...execve, fields: { ...execve.fields, pid } });
  const connect = { ...execve, syscall: 'connect' };

  it('hands over the starts of a batch at once, and nothing when there are none', () => {
    starts.acceptAudit?.([ofPid('7'), connect, ofPid('8')], true);
    starts.acceptAudit?.([connect], true);
    starts.acceptAudit?.([], true);
    assert.deepEqual(told, [['starts', 7, 8]]);
  });

  it('counts a broken one, and keeps its neighbours', () => {
    starts.acceptAudit?.([ofPid('7'), ofPid('x'), withoutArguments, ofPid('8')], true);
    assert.deepEqual(told, [
      ['starts', 'malformed', 2],
      ['starts', 7, 8],
    ]);
  });

  it('logs the first broken one, and counts them all', () => {
    for (let n = 0; n < 50; n += 1) starts.acceptAudit?.([ofPid('x'), withoutArguments], true);
    assert.equal(told.length, 50);
    assert.deepEqual(
      logged.map(({ level }) => level),
      ['debug'],
    );
  });

  it('hands over nothing, and counts nothing, while it is not wanted', () => {
    starts.prepare?.(false);
    starts.acceptAudit?.([ofPid('7'), ofPid('x')], true);
    assert.deepEqual([told, logged], [[], []]);
  });

  it('asks audit for both ways to start a program', () => {
    assert.deepEqual(START_RULES, [{ syscalls: ['execve', 'execveat'], where: { success: 1 } }]);
  });
});
