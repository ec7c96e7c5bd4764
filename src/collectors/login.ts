import * as v from 'valibot';
import { MalformedRecordError, triggered } from '../contract/collector.ts';
import type { LoginSeen, Lookups } from '../contract/sources.ts';
import { details, extraDetails, integer, oneOf, text } from './fields.ts';

/** Somebody logged in or out, or tried to. */
export const login = triggered({
  name: 'Login',
  type: 'Security',
  priority: 'High',
  version: '1.0',
  summary: 'Somebody logged in or out, or was refused.',
  source:
    "programs' own records in the kernel's audit, see pam(8) and audit_log_acct_message(3); " +
    'without audit, wtmp and btmp, see utmp(5), and the database of wtmpdb(8)',

  payload: v.strictObject({
    ProcessId: integer('Process that lets in, such as sshd; 0 where its source does not say.'),
    Operation: text('"Login", "Logout", or what the record calls a step that was refused: "PAM:authentication".'),
    Executable: text(
      'Full path of that program, as the agent has found it by its process; where that was too late, as the record says; ' +
        'the name of its service, or "unknown".',
    ),
    Result: oneOf(['Success', 'Fail'], 'Whether it worked.'),
    UserId: v.optional(text('Id of the account, in decimal.')),
    UserName: v.optional(text('Name of the account; of one that does not exist, the name that was tried.')),
    RemoteAddress: v.optional(text('Address that it came from, RFC 5952; absent at the console.')),
    RemotePort: v.optional(text('Port that it came from, in decimal, where it is known.')),
    LocalPort: v.optional(text('Port that it came to, in decimal, where it is known.')),
    ExtraDetails: extraDetails(
      'Terminal: the device, or the service where there is none. SessionId: the audit session. RemoteHost: what the ' +
        'record calls the other host. Zone: the interface a link-local address belongs to. ReporterProcessId: the process ' +
        'that wrote the record, by the word of the kernel; all other fields but SessionId are what it says. ' +
        'ReporterExecutable: the program that it runs, or "unknown" when it had ended. ReportedExecutable: what the record ' +
        'says instead. ContainerId: the container it is in, where a login is to that container, whatever the record says.',
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

/** User ids of a container are not the host's: the same id can be somebody else there. */
const nameOf = ({ userId, reporter }: LoginSeen, look: Lookups): string | undefined =>
  userId === undefined || reporter?.containerId !== undefined ? undefined : look.userName(userId);
