import assert from 'node:assert/strict';
import { processCreate } from '../../src/collectors/process-create.ts';
import { MalformedRecordError } from '../../src/contract/collector.ts';
import type { AuditEvent, Lookups, ProcessSeen, StartedProcess } from '../../src/contract/sources.ts';
import { blanked } from '../../src/pipeline/element-table.ts';
import { CONTAINER, look, records, SHA256 } from './samples.ts';

const fromAudit = (change: Partial<AuditEvent> = {}) =>
  processCreate.from.audit?.({ ...records.audit, ...change }, look);
const fromProcesses = (change: Partial<ProcessSeen> = {}) =>
  processCreate.from.processes?.({ ...records.processes, ...change }, look);

/** What it is looked up by; nothing is known of it. */
const asked: StartedProcess[] = [];
const ignorant: Lookups = {
  ...look,
  started(process) {
    asked.push(process);
    return { containerId: undefined, sha256: undefined };
  },
};

const { syscall: _, ...withoutSyscall } = records.audit;
const { commandLine: __, ...withoutArguments } = records.audit;
const { executable: ___, ...hidden } = records.processes;

describe('ProcessCreate from audit', () => {
  it('reports the program, its arguments and who started it', () => {
    assert.deepEqual(fromAudit(), {
      Executable: '/usr/bin/ls',
      CommandLine: 'ls -l /tmp',
      ProcessId: 1445,
      ParentProcessId: 1444,
      UserId: '1000',
      UserName: 'alice',
      ExtraDetails: {
        ContainerId: CONTAINER,
        Sha256: SHA256,
        CurrentDirectory: '/home/alice',
        Terminal: 'pts0',
        LoginUserId: '1000',
      },
    });
  });

  it('says why a digest is left out, in what is aggregated, too', () => {
    const started = () => ({ containerId: undefined, sha256: undefined, hashOmitted: 'mount' as const });
    const payload = processCreate.from.audit?.(records.audit, { ...look, started });
    const { HashOmitted, Sha256 } = (payload?.ExtraDetails ?? {}) as Record<string, string>;
    assert.deepEqual([HashOmitted, Sha256], ['mount', undefined]);
    const { aggregate = assert.fail() } = processCreate;
    assert.deepEqual(blanked(aggregate, payload ?? {}).payload.ExtraDetails, { HashOmitted: 'mount' });
    const seen = processCreate.from.processes?.(records.processes, { ...look, started });
    assert.deepEqual(seen?.ExtraDetails, { HashOmitted: 'mount' });
  });

  it('reports execveat the same', () => assert.deepEqual(fromAudit({ syscall: 'execveat' }), fromAudit()));

  it('names the user it runs as, not the one who called: su', () => {
    const payload = fromAudit({ fields: { ...records.audit.fields, uid: '1000', euid: '0' } });
    assert.equal(payload?.UserId, '0');
    assert.equal(payload?.UserName, 'root');
  });

  it('leaves out a name that no local account has, and details that say nothing', () => {
    const { cwd: ____, ...event } = records.audit;
    const fields = { ...event.fields, euid: '4711', tty: '(none)', auid: '4294967295' };
    assert.deepEqual(processCreate.from.audit?.({ ...event, fields }, ignorant), {
      Executable: '/usr/bin/ls',
      CommandLine: 'ls -l /tmp',
      ProcessId: 1445,
      ParentProcessId: 1444,
      UserId: '4711',
    });
  });

  it('is looked up by its process, its image and the time of its start', () => {
    asked.length = 0;
    processCreate.from.audit?.(records.audit, ignorant);
    assert.deepEqual(asked, [
      {
        pid: 1445,
        parentPid: 1444,
        userId: 1000,
        loginUserId: 1000,
        executable: '/usr/bin/ls',
        startedAt: records.audit.time,
      },
    ]);
  });

  it('reports what IMA has measured', () => {
    const details = fromAudit({ imaHash: `sha256:${SHA256}` })?.ExtraDetails as Record<string, string>;
    assert.equal(details.Hash, `sha256:${SHA256}`);
  });

  it('takes a program without arguments', () => assert.equal(fromAudit({ commandLine: '' })?.CommandLine, ''));

  it('does not alter arguments', () => {
    assert.equal(fromAudit({ commandLine: 'sh -c  a  "b"\n\u0000é' })?.CommandLine, 'sh -c  a  "b"\n\u0000é');
  });

  it('says when arguments are missing at the end', () => {
    const details = fromAudit({ argvBytesCut: 70_000 })?.ExtraDetails as Record<string, string>;
    assert.equal(details.CommandLineBytesCut, '70000');
  });

  for (const [what, event] of Object.entries({
    'an execve that failed': { ...records.audit, success: false },
    'another system call': { ...records.audit, syscall: 'connect' },
    'a record without a system call': withoutSyscall,
  } satisfies Record<string, AuditEvent>)) {
    it(`ignores ${what}`, () => assert.equal(processCreate.from.audit?.(event, look), undefined));
  }

  for (const field of ['exe', 'pid', 'ppid', 'euid']) {
    for (const value of [undefined, '', '(null)', 'x1']) {
      if (field === 'exe' && value === 'x1') continue;
      it(`refuses a record whose ${field} is ${value ?? 'missing'}`, () => {
        const fields = { ...records.audit.fields, [field]: value };
        assert.throws(() => fromAudit({ fields }), MalformedRecordError);
      });
    }
  }

  it('refuses a record whose arguments are missing', () => {
    assert.throws(() => processCreate.from.audit?.(withoutArguments, look), MalformedRecordError);
  });
});

describe('ProcessCreate from /proc', () => {
  it('reports what is known', () => {
    assert.deepEqual(fromProcesses(), {
      Executable: '/usr/bin/ls',
      CommandLine: 'ls -l',
      ProcessId: 1445,
      ParentProcessId: 1444,
      UserId: '1000',
      UserName: 'alice',
      ExtraDetails: { ContainerId: CONTAINER, Sha256: SHA256 },
    });
  });

  it('looks up a hidden image by nothing that could be forged', () => {
    asked.length = 0;
    const payload = processCreate.from.processes?.({ ...hidden, argv: ['/usr/bin/ls'] }, ignorant);
    assert.deepEqual(asked, [{ pid: 1445, parentPid: 1444, userId: 1000, executable: '' }]);
    assert.equal(payload?.ExtraDetails, undefined);
  });

  for (const [argv, executable] of [
    [['/usr/bin/ls', '-l'], '/usr/bin/ls'],
    [['ls', '-l'], 'unknown'],
    [[], 'unknown'],
  ] as const) {
    it(`says ${executable} for a hidden image called by [${argv}]`, () => {
      assert.equal(processCreate.from.processes?.({ ...hidden, argv }, look)?.Executable, executable);
    });
  }
});

describe('ProcessCreate aggregated', () => {
  const { aggregate = assert.fail() } = processCreate;

  it('forgets what tells occurrences apart', () => {
    assert.deepEqual(blanked(aggregate, fromAudit({ imaHash: 'sha1:0' }) ?? {}).payload, {
      Executable: '/usr/bin/ls',
      CommandLine: 'ls -l /tmp',
      ProcessId: 0,
      ParentProcessId: 0,
      UserId: '1000',
      UserName: 'alice',
      ExtraDetails: { ContainerId: CONTAINER, Sha256: SHA256, Hash: 'sha1:0' },
    });
  });

  it('forgets details of any other name, however it is called', () => {
    const ExtraDetails = JSON.parse('{ "__proto__": "a", "toString": "b" }');
    assert.deepEqual(blanked(aggregate, { ...fromAudit(), ExtraDetails }).payload.ExtraDetails, undefined);
  });

  it('tells them apart by command line, program, user, image and container', () => {
    assert.deepEqual(aggregate.by, ['CommandLine', 'Executable', 'UserId', 'UserName']);
    assert.deepEqual(aggregate.details, ['ContainerId', 'Sha256', 'HashOmitted', 'Hash']);
  });

  it('asks the kernel for both ways to start a program', () => {
    assert.deepEqual(processCreate.auditRules, [{ syscalls: ['execve', 'execveat'], where: { success: 1 } }]);
  });
});
