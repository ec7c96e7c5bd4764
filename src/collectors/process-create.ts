import * as v from 'valibot';
import { triggered } from '../contract/collector.ts';
import type { Lookups, ProcessStarted } from '../contract/sources.ts';
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

  stream: 'starts',
  translate,

  aggregate: {
    by: ['CommandLine', 'Executable', 'UserId', 'UserName'],
    details: ['ContainerId', 'Sha256', 'HashOmitted', 'Hash'], // the same command by another image, or elsewhere, is something else
    blank: { ProcessId: 0, ParentProcessId: 0 },
  },
});

function translate(start: ProcessStarted, look: Lookups) {
  const { userId, loginUserId } = start;
  const { containerId, sha256, hashOmitted } = look.started(start);
  const userName = look.userName(userId);
  return {
    Executable: start.executable ?? imageByArgument(start.argv),
    CommandLine: start.commandLine,
    ProcessId: start.pid,
    ParentProcessId: start.parentPid,
    UserId: String(userId),
    ...(userName === undefined ? {} : { UserName: userName }),
    ...details({
      ContainerId: containerId,
      Sha256: sha256,
      HashOmitted: hashOmitted,
      Hash: start.imaHash,
      CurrentDirectory: start.cwd,
      Terminal: start.terminal,
      LoginUserId: loginUserId === undefined ? undefined : String(loginUserId),
      CommandLineBytesCut: start.commandLineBytesCut?.toString(),
      CommandLineUnread: start.commandLineUnread,
    }),
  };
}

/**
 * Of a program whose image is hidden. Whoever starts a process can forge its arguments, and not its image, so the argument
 * is used only then; and its file isn't hashed.
 */
function imageByArgument([called = '']: readonly string[] = []): string {
  return called.startsWith('/') ? called : 'unknown';
}
