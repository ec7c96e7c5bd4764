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
    CommandLine: text('Arguments joined by one blank, the first being the name it was called by.'),
    ProcessId: integer('Process id; 0 when the element stands for several.'),
    ParentProcessId: integer("Its parent's id; 0 when the element stands for several."),
    UserId: text('Effective user id it runs under, in decimal.'),
    UserName: v.optional(text('Name of that user, when it is a local account.')),
    ExtraDetails: extraDetails(
      'CurrentDirectory, Terminal, LoginUserId: the user who logged in, whoever they became since; ' +
        'CommandLineBytesCut: what is missing from a command line of more than 128 KiB.',
    ),
  }),

  auditRules: [{ syscalls: ['execve', 'execveat'] }],
  from: { audit: fromAudit, processes: fromProcesses },

  aggregate: {
    by: ['CommandLine', 'Executable', 'UserId', 'UserName'],
    blank: ({ ExtraDetails, ...payload }) => ({ ...payload, ProcessId: 0, ParentProcessId: 0 }),
  },
});

function fromAudit({ syscall, success, fields, argv, argvBytesCut, cwd }: AuditEvent, look: Lookups) {
  if (!success || (syscall !== 'execve' && syscall !== 'execveat')) return undefined;
  if (argv === undefined) throw new MalformedRecordError('argv is missing');
  const { exe } = fields;
  if (exe === undefined || exe === '' || exe === '(null)') throw new MalformedRecordError(`exe is ${exe ?? 'missing'}`);
  const userId = decimal(fields.euid, 'euid');
  return {
    Executable: exe,
    CommandLine: argv.join(' '),
    ProcessId: decimal(fields.pid, 'pid'),
    ParentProcessId: decimal(fields.ppid, 'ppid'),
    ...user(userId, look),
    ...details({
      CurrentDirectory: cwd,
      Terminal: fields.tty === '(none)' ? undefined : fields.tty,
      LoginUserId: fields.auid === UNSET ? undefined : fields.auid,
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
function fromProcesses({ pid, parentPid, userId, executable, argv }: ProcessSeen, look: Lookups) {
  const [called = ''] = argv;
  return {
    Executable: executable ?? (called.startsWith('/') ? called : 'unknown'),
    CommandLine: argv.join(' '),
    ProcessId: pid,
    ParentProcessId: parentPid,
    ...user(userId, look),
  };
}

function user(userId: number, look: Lookups): { UserId: string; UserName?: string } {
  const name = look.userName(userId);
  return { UserId: String(userId), ...(name === undefined ? {} : { UserName: name }) };
}
