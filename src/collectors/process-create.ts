import * as v from 'valibot';
import { integer as decimal, MalformedRecordError, triggered } from '../contract/collector.ts';
import type { AuditEvent, Lookups, ProcessSeen } from '../contract/sources.ts';
import { details, extraDetails, integer, text } from './fields.ts';

/** A program was started. */
export const processCreate = triggered({
  name: 'ProcessCreate',
  type: 'Security',
  priority: 'Low',
  version: '1.0',
  summary: 'A program was started, by whom and with what arguments.',
  source: 'kernel audit, SYSCALL and EXECVE records, see audit.rules(7); without audit, /proc by polling',

  payload: v.strictObject({
    Executable: text(
      'Full path of the new image. Where /proc hides it: the first argument when that is a full path, else "unknown".',
    ),
    CommandLine: text(
      'Arguments joined by one blank, the first being the name it was called by. Empty when they could not be read; ' +
        'see CommandLineUnread.',
    ),
    ProcessId: integer('Process id; 0 when the element stands for several.'),
    ParentProcessId: integer("Its parent's id; 0 when the element stands for several."),
    UserId: text('Effective user id it runs under, in decimal.'),
    UserName: v.optional(text('Name of that user, when it is a local account.')),
    ExtraDetails: extraDetails(
      'ContainerId: the container it runs in; Sha256: of the image, in hexadecimal; HashOmitted: why ' +
        'there is no Sha256: size (its file is longer than 256 MiB), budget (no time for it now, or it is still being ' +
        'read: a later start has it), mount (its file system is not one that the kernel itself answers for, such as ' +
        'FUSE or NFS), unreadable (the file is gone, has changed since, or may not be read); Hash: the digest that IMA ' +
        'has measured, where its policy says so, as sha256:…; CurrentDirectory, Terminal, LoginUserId: the user who logged in, whoever they ' +
        'became since; CommandLineBytesCut: what is missing from a command line of more than 128 KiB; ' +
        'CommandLineUnread, without audit: why there is none: ended (before it was read), hung (the process blocks whoever reads it), ' +
        'avoided (it, or several of its user, did so before), unavailable (the agent could not look). An element that ' +
        'stands for several has the first four.',
    ),
  }),

  // A search of PATH fails some eight times for each program that is found.
  auditRules: [{ syscalls: ['execve', 'execveat'], where: { success: 1 } }],
  from: { audit: fromAudit, processes: fromProcesses },

  aggregate: {
    by: ['CommandLine', 'Executable', 'UserId', 'UserName'],
    details: ['ContainerId', 'Sha256', 'HashOmitted', 'Hash'], // the same command by another image, or elsewhere, is something else
    blank: { ProcessId: 0, ParentProcessId: 0 },
  },
});

function fromAudit(event: AuditEvent, look: Lookups) {
  const { time, syscall, success, fields, commandLine, argvBytesCut, cwd, imaHash } = event;
  if (!success || (syscall !== 'execve' && syscall !== 'execveat')) return undefined;
  if (commandLine === undefined) throw new MalformedRecordError('its arguments are missing');
  const { exe } = fields;
  if (exe === undefined || exe === '' || exe === '(null)') throw new MalformedRecordError(`exe is ${exe ?? 'missing'}`);
  const userId = decimal(fields.euid, 'euid');
  const pid = decimal(fields.pid, 'pid');
  const parentPid = decimal(fields.ppid, 'ppid');
  const loginUserId = fields.auid === undefined || fields.auid === UNSET ? undefined : fields.auid;
  const { containerId, sha256, hashOmitted } = look.started({
    pid,
    parentPid,
    userId,
    loginUserId: loginUserId === undefined ? undefined : Number(loginUserId),
    executable: exe,
    startedAt: time,
  });
  return {
    Executable: exe,
    CommandLine: commandLine,
    ProcessId: pid,
    ParentProcessId: parentPid,
    ...user(userId, look),
    ...details({
      ContainerId: containerId,
      Sha256: sha256,
      HashOmitted: hashOmitted,
      Hash: imaHash,
      CurrentDirectory: cwd,
      Terminal: fields.tty === '(none)' ? undefined : fields.tty,
      LoginUserId: loginUserId,
      CommandLineBytesCut: argvBytesCut?.toString(),
    }),
  };
}

/** The login uid of what nobody logged in to start, such as services: (uid_t)-1, see credentials(7). */
const UNSET = String(2 ** 32 - 1);

/**
 * An argument can be forged by whoever starts the process, the image can't; so the argument stands in only where the
 * image is hidden.
 */
function fromProcesses({ pid, parentPid, userId, executable, argv = [], argvUnread }: ProcessSeen, look: Lookups) {
  const [called = ''] = argv;
  // Nor is the argument's file hashed. The time is that of the process's start, which was before that of its program.
  const started = { pid, parentPid, userId, executable: executable ?? '' };
  const { containerId, sha256, hashOmitted } = look.started(started);
  return {
    Executable: executable ?? (called.startsWith('/') ? called : 'unknown'),
    CommandLine: argv.join(' '),
    ProcessId: pid,
    ParentProcessId: parentPid,
    ...user(userId, look),
    ...details({
      ContainerId: containerId,
      Sha256: sha256,
      HashOmitted: hashOmitted,
      CommandLineUnread: argvUnread,
    }),
  };
}

function user(userId: number, look: Lookups): { UserId: string; UserName?: string } {
  const name = look.userName(userId);
  return { UserId: String(userId), ...(name === undefined ? {} : { UserName: name }) };
}
