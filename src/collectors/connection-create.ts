import * as v from 'valibot';
import { triggered } from '../contract/collector.ts';
import type { ConnectionSeen, Lookups } from '../contract/sources.ts';
import { details, extraDetails, integer, oneOf, text } from './fields.ts';

/** The port that the kernel picked for the end that called says nothing, nor does the process. */
const MADE = { ProcessId: 0, LocalPort: null };
const TAKEN = { ProcessId: 0, RemotePort: '0' };

/** Of io_uring nobody knows what came of the connect. */
const BY_RING = { Source: 'io_uring', Result: 'unknown' };

/** A connection was made, or taken. */
export const connectionCreate = triggered({
  name: 'ConnectionCreate',
  type: 'Security',
  priority: 'Low',
  version: '1.0',
  summary: 'A program connected to another host, or took a connection from one.',
  source:
    'kernel audit, SYSCALL and SOCKADDR records of connect(2) and accept(2), and URINGOP records of connects by ' +
    'io_uring(7), see audit.rules(7); ' +
    'the local end by netlink sock_diag, see sock_diag(7)',

  payload: v.strictObject({
    RemoteAddress: text('The other end, RFC 5952; an IPv4 address is shown as such, whatever the socket.'),
    RemotePort: text('Its port, in decimal; "0" when the element stands for several connections that were taken.'),
    LocalAddress: v.optional(text("This end, when the socket could still be asked; a listener's when that is bound.")),
    LocalPort: v.optional(text('Its port; left out when the element stands for several connections that were made.')),
    Direction: oneOf(['In', 'Out'], 'In was taken (accept), Out was made or is under way (connect).'),
    Protocol: oneOf(['TCP', 'UDP'], 'A UDP socket that is bound to a peer counts as connected.'),
    ProcessId: integer('The process that called; 0 when the element stands for several connections.'),
    UserId: v.optional(text('Effective user id it ran under, in decimal.')),
    Executable: text('Full path of its image.'),
    CommandLine: v.optional(
      text('Its arguments joined by one blank; left out when nobody saw it start and it has ended.'),
    ),
    ExtraDetails: extraDetails(
      'Zone: the interface that a link-local address belongs to. ContainerId: the container the process ran in. ' +
        'Source: io_uring when the program connected by that; then Result is unknown: the kernel does not say whether ' +
        'the connection came about, nor its protocol, which is given as TCP.',
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
    blank: ({ Direction }) => (Direction === 'Out' ? MADE : TAKEN),
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
