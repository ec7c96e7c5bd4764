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

/** The known members; an undefined member counts as absent. */
const known = (start: ProcessStarted | undefined) =>
  Object.fromEntries(Object.entries(start ?? assert.fail()).filter(([, value]) => value !== undefined));

describe('startOf', () => {
  it('returns the program, its arguments and the user', () => {
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

  it('returns the same for execveat', () => assert.deepEqual(startWith({ syscall: 'execveat' }), startOf(execve)));

  it('returns the user of the new program, not the caller: su', () => {
    assert.equal(withFields({ uid: '1000', euid: '0' })?.userId, 0);
  });

  it('returns the user who started a set-user-id program', () => {
    assert.equal(withFields({ uid: '1000', euid: '0' })?.realUserId, 1000);
    assert.equal(withFields({ uid: '1000', euid: '1000' })?.realUserId, undefined);
    assert.throws(() => withFields({ uid: 'x', euid: '0' }), MalformedRecordError);
  });

  it('returns no login user and no terminal for a service', () => {
    const start = withFields({ auid: '4294967295', tty: '(none)' });
    assert.deepEqual([start?.loginUserId, start?.terminal], [undefined, undefined]);
    assert.equal(withFields({ auid: undefined })?.loginUserId, undefined);
  });

  it('returns the IMA measurement, and the number of truncated arguments', () => {
    const start = startWith({ imaHash: 'sha256:00', argvBytesCut: 70_000 });
    assert.deepEqual([start?.imaHash, start?.commandLineBytesCut], ['sha256:00', 70_000]);
  });

  it('accepts a start without arguments', () =>
    assert.equal(startWith({ commandLine: '', argv: [] })?.commandLine, ''));

  it('returns starts of one shape, regardless of the known fields', () => {
    const { cwd: ___, argv: ____, ...least } = execve;
    const start = startOf({ ...least, argvBytesCut: 1, imaHash: 'sha1:0' });
    assert.deepEqual(Object.keys(start ?? {}), Object.keys(startOf(execve) ?? {}));
  });

  for (const [what, event] of Object.entries({
    'an execve that failed': { ...execve, success: false },
    'another system call': { ...execve, syscall: 'connect' },
    'an event without a system call': withoutSyscall,
  } satisfies Record<string, AuditEvent>)) {
    it(`returns undefined for ${what}`, () => assert.equal(startOf(event), undefined));
  }

  for (const field of ['exe', 'pid', 'ppid', 'euid']) {
    for (const value of [undefined, '', '(null)', 'x1']) {
      if (field === 'exe' && value === 'x1') continue;
      it(`rejects a start whose ${field} is ${value ?? 'missing'}`, () => {
        assert.throws(() => withFields({ [field]: value }), MalformedRecordError);
      });
    }
  }

  it('rejects a start without arguments', () => {
    assert.throws(() => startOf(withoutArguments), MalformedRecordError);
  });
});

describe('AuditStarts', () => {
  let reported: unknown[][];
  let logged: LogLine[];
  let starts: EventSource;

  beforeEach(() => {
    reported = [];
    logged = [];
    const sink = {
      accept: (stream, records) =>
        reported.push([stream, ...(records as readonly ProcessStarted[]).map(({ pid }) => pid)]),
      drop: (...loss) => reported.push(loss),
    } as StreamSink;
    starts = declared.make({ sink, log: quietLog(logged) } as unknown as SourceHost);
    starts.prepare?.(true);
  });

  const ofPid = (pid: string): AuditEvent => ({ ...execve, fields: { ...execve.fields, pid } });
  const connect = { ...execve, syscall: 'connect' };

  it('delivers the starts of a batch together, and nothing without starts', () => {
    starts.acceptAudit?.([ofPid('7'), connect, ofPid('8')], true);
    starts.acceptAudit?.([connect], true);
    starts.acceptAudit?.([], true);
    assert.deepEqual(reported, [['starts', 7, 8]]);
  });

  it('counts an invalid start and keeps the others', () => {
    starts.acceptAudit?.([ofPid('7'), ofPid('x'), withoutArguments, ofPid('8')], true);
    assert.deepEqual(reported, [
      ['starts', 'malformed', 2],
      ['starts', 7, 8],
    ]);
  });

  it('logs the first invalid start, and counts all', () => {
    for (let n = 0; n < 50; n += 1) starts.acceptAudit?.([ofPid('x'), withoutArguments], true);
    assert.equal(reported.length, 50);
    assert.deepEqual(
      logged.map(({ level }) => level),
      ['debug'],
    );
  });

  it('delivers and counts nothing while it is not requested', () => {
    starts.prepare?.(false);
    starts.acceptAudit?.([ofPid('7'), ofPid('x')], true);
    assert.deepEqual([reported, logged], [[], []]);
  });

  it('requests both system calls that start programs from audit', () => {
    assert.deepEqual(START_RULES, [{ syscalls: ['execve', 'execveat'], where: { success: 1 } }]);
  });
});
