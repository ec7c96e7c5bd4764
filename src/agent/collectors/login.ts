import * as v from 'valibot';
import { MalformedRecordError, triggered } from '../../core/contract/collector.ts';
import { EVENTS } from '../../core/contract/events.ts';
import type { Lookups } from '../../core/contract/lookups.ts';
import type { LoginSeen } from '../../core/contract/streams.ts';
import { details, extraDetails, integer, oneOf, text } from './fields.ts';

/** A login, a logout, or a failed attempt. */
export const login = triggered({
  ...EVENTS.Login,
  version: '1.0',
  summary: 'A user logged in or out, or failed to log in.',
  source:
    "records that programs write to the kernel's audit, see pam(8) and audit_log_acct_message(3); " +
    'without audit, wtmp and btmp, see utmp(5), and the database of wtmpdb(8)',

  payload: v.strictObject({
    ProcessId: integer('Process that authenticates the user, such as sshd; 0 if the source does not record it.'),
    Operation: text('"Login", "Logout", or the name of the failed step in the record, such as "PAM:authentication".'),
    Executable: text(
      'Full path of the program of ProcessId, looked up by the process; if the process had exited, as in the record; else ' +
        'the name of its service, or "unknown".',
    ),
    Result: oneOf(['Success', 'Fail'], 'Whether the operation succeeded.'),
    UserId: v.optional(text('Id of the account, in decimal.')),
    UserName: v.optional(text('Name of the account, or the attempted name if no such account exists.')),
    RemoteAddress: v.optional(text('Address of the client, RFC 5952; absent for a local login.')),
    RemotePort: v.optional(text('Port of the client, in decimal, if known.')),
    LocalPort: v.optional(text('Port that the client connected to, in decimal, if known.')),
    ExtraDetails: extraDetails(
      'Terminal: the device, or the service if the login has none. SessionId: the audit session. RemoteHost: name of the ' +
        'client in the record. Zone: the interface of a link-local address. ReporterProcessId: the process that wrote the ' +
        'record. The kernel vouches for ReporterProcessId and SessionId; all other fields are as that process reports ' +
        'them. ReporterExecutable: the program of that process, or "unknown" if it had ended. ReportedExecutable: the ' +
        'program named in the record, if it differs from Executable. ContainerId: the container of that process, which is the one logged in to, ' +
        'whatever the record contains.',
    ),
  }),

  stream: 'logins',
  translate,
});

function translate(seen: LoginSeen, look: Lookups) {
  const { userId, userName = nameOf(seen, look), remote, reporter } = seen;
  const executable = reporter?.executable ?? seen.executable;
  if (userId === undefined && userName === undefined) throw new MalformedRecordError('neither userId nor userName');
  return {
    ProcessId: seen.pid,
    Operation: seen.operation,
    Executable: executable,
    Result: seen.success ? ('Success' as const) : ('Fail' as const),
    ...(userId === undefined ? {} : { UserId: String(userId) }),
    ...(userName === undefined ? {} : { UserName: userName }),
    ...(remote?.address === undefined ? {} : { RemoteAddress: remote.address }),
    ...(remote?.port === undefined ? {} : { RemotePort: String(remote.port) }),
    ...(seen.localPort === undefined ? {} : { LocalPort: String(seen.localPort) }),
    ...details({
      Terminal: seen.terminal,
      SessionId: seen.sessionId,
      RemoteHost: seen.remoteHost,
      Zone: seen.zone,
      ReporterProcessId: reporter?.pid.toString(),
      ReporterExecutable: reporter === undefined ? undefined : (reporter.executable ?? 'unknown'),
      ReportedExecutable: seen.executable === executable ? undefined : seen.executable,
      ContainerId: reporter?.containerId,
    }),
  };
}

/** Not looked up for a login in a container, whose user ids are not the host's. */
const nameOf = ({ userId, reporter }: LoginSeen, look: Lookups): string | undefined =>
  userId === undefined || reporter?.containerId !== undefined ? undefined : look.userName(userId);
