import * as v from 'valibot';
import { triggered } from '../../core/contract/collector.ts';
import { EVENTS } from '../../core/contract/events.ts';
import type { Lookups } from '../../core/contract/lookups.ts';
import type { ProcessStarted } from '../../core/contract/streams.ts';
import { details, extraDetails, integer, text } from './fields.ts';

/** A program was started. */
export const processCreate = triggered({
  ...EVENTS.ProcessCreate,
  version: '1.0',
  summary: 'A program was started, with its user and its arguments.',
  source:
    'kernel audit, SYSCALL and EXECVE records, see audit.rules(7); without audit, the process connector, else /proc by polling',

  payload: v.strictObject({
    Executable: text(
      'Full path of the executable. If /proc hides it: the first argument if it is a full path, else "unknown".',
    ),
    CommandLine: text(
      'Arguments joined by spaces; the first is the name that the program was called by. Empty if they could not be ' +
        'read; see CommandLineUnread.',
    ),
    ProcessId: integer('Process id; 0 if the element aggregates several starts.'),
    ParentProcessId: integer('Process id of the parent; 0 if the element aggregates several starts.'),
    UserId: text('Effective user id of the process, in decimal.'),
    UserName: v.optional(text('Name of the user, if it is a local account.')),
    ExtraDetails: extraDetails(
      'ContainerId: the container of the process. Sha256: hash of the executable, in hexadecimal. HashOmitted: the reason if ' +
        'Sha256 is absent: size (the file is larger than 256 MiB), budget (the time for hashing is used up, or the file is ' +
        'still being read; a later start has the hash), mount (the file system is served from outside the kernel, such as ' +
        'FUSE or NFS), unreadable (the file was deleted, was changed, or may not be read). Hash: the digest measured by IMA, ' +
        'if its policy measures the file, as sha256:…. CurrentDirectory: the working directory. Terminal: the terminal. RealUserId: the ' +
        'user who started a set-user-id program. LoginUserId: the user who logged in, even after a change of user. CommandLineBytesCut: number of bytes missing from a command line ' +
        'of more than 128 KiB. CommandLineUnread, without audit: the reason if CommandLine is empty: ended (before it was ' +
        'read), hung (reading it blocks), avoided (reading it, or several processes of its user, blocked before), ' +
        'unavailable (the agent could not read it). An aggregated element has only ContainerId, RealUserId, Sha256, HashOmitted and Hash.',
    ),
  }),

  stream: 'starts',
  translate,

  aggregate: {
    by: ['CommandLine', 'Executable', 'UserId', 'UserName'],
    // A start with another executable, container or set-user-id starter is a different start.
    details: ['ContainerId', 'RealUserId', 'Sha256', 'HashOmitted', 'Hash'],
    blank: { ProcessId: 0, ParentProcessId: 0 },
  },
});

function translate(start: ProcessStarted, look: Lookups) {
  const { userId, realUserId, loginUserId } = start;
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
      RealUserId: realUserId === undefined ? undefined : String(realUserId),
      LoginUserId: loginUserId === undefined ? undefined : String(loginUserId),
      CommandLineBytesCut: start.commandLineBytesCut?.toString(),
      CommandLineUnread: start.commandLineUnread,
    }),
  };
}

/**
 * The executable's path from the first argument, used only for a process whose executable is hidden. The file isn't hashed,
 * because the parent of a process can forge its arguments.
 */
function imageByArgument([called = '']: readonly string[] = []): string {
  return called.startsWith('/') ? called : 'unknown';
}
