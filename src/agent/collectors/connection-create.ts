import * as v from 'valibot';
import { triggered } from '../../core/contract/collector.ts';
import { EVENTS } from '../../core/contract/events.ts';
import type { Lookups } from '../../core/contract/lookups.ts';
import type { ConnectionSeen } from '../../core/contract/streams.ts';
import { details, extraDetails, integer, oneOf, text } from './fields.ts';

/** Fields that aggregated elements omit: the ephemeral port of the connecting side, and the process id. */
const OUTBOUND = { ProcessId: 0, LocalPort: null };
const INBOUND = { ProcessId: 0, RemotePort: '0' };

/** The kernel does not report the result of a connect by io_uring. */
const BY_RING = { Source: 'io_uring', Result: 'unknown' };

/** An outbound or inbound connection. */
export const connectionCreate = triggered({
  ...EVENTS.ConnectionCreate,
  version: '1.0',
  summary: 'A program connected to another host, or accepted a connection from one.',
  source:
    'kernel audit, SYSCALL and SOCKADDR records of connect(2) and accept(2), and URINGOP records of connects by ' +
    'io_uring(7), see audit.rules(7); ' +
    'the local address from netlink sock_diag, see sock_diag(7)',

  payload: v.strictObject({
    RemoteAddress: text('Remote address, RFC 5952. IPv4-mapped IPv6 addresses are shown as IPv4.'),
    RemotePort: text('Remote port, in decimal; "0" if the element aggregates several inbound connections.'),
    LocalAddress: v.optional(
      text(
        "Local address, if the socket was still open when it was looked up; else the listener's, if it is bound to one.",
      ),
    ),
    LocalPort: v.optional(
      text('Local port, in decimal; absent if the element aggregates several outbound connections.'),
    ),
    Direction: oneOf(['In', 'Out'], 'In: accepted (accept). Out: established or in progress (connect).'),
    Protocol: oneOf(['TCP', 'UDP'], 'A UDP socket that is bound to a peer counts as connected.'),
    ProcessId: integer('Process that connected or accepted; 0 if the element aggregates several connections.'),
    UserId: v.optional(text('Effective user id of the process, in decimal.')),
    Executable: text("Full path of the process's executable."),
    CommandLine: v.optional(
      text('Arguments joined by spaces; absent if the process had exited and its start was not observed.'),
    ),
    ExtraDetails: extraDetails(
      'Zone: the interface of a link-local address. ContainerId: the container of the process. Source: "io_uring" if the ' +
        'program connected by io_uring; then Result is "unknown", since the kernel reports neither the result nor the ' +
        'protocol, and Protocol is TCP.',
    ),
  }),

  stream: 'connections',
  translate,

  aggregate: {
    by: [
      'RemoteAddress',
      'CommandLine',
      'Executable',
      'UserId',
      'Direction',
      'LocalAddress',
      'Protocol',
      'LocalPort',
      'RemotePort',
    ],
    details: ['Source', 'Result'],
    blank: ({ Direction }) => (Direction === 'Out' ? OUTBOUND : INBOUND),
  },
});

function translate(connection: ConnectionSeen, look: Lookups) {
  const { direction, protocol, remote, local, pid, parentPid, userId, executable, commandLine, byRing } = connection;
  const zone = remote.interfaceIndex ?? local?.interfaceIndex;
  return {
    RemoteAddress: remote.address,
    RemotePort: String(remote.port),
    ...(local?.address === undefined ? {} : { LocalAddress: local.address }),
    ...(local?.port === undefined ? {} : { LocalPort: String(local.port) }),
    Direction: direction,
    Protocol: protocol,
    ProcessId: pid,
    UserId: String(userId),
    Executable: executable,
    ...(commandLine === undefined ? {} : { CommandLine: commandLine }),
    ...details({
      Zone: zone === undefined ? undefined : (look.interfaceName(zone) ?? String(zone)),
      ContainerId: look.containerId(pid, parentPid),
      ...(byRing === true ? BY_RING : {}),
    }),
  };
}
