import * as v from 'valibot';
import { nextTurn } from '../../core/base/waiting.ts';
import { periodic } from '../../core/contract/collector.ts';
import { EVENTS } from '../../core/contract/events.ts';
import { details, extraDetails, oneOf, text } from './fields.ts';
import { inOrderOfImportance, merged, type PortRange } from './port-ranges.ts';

/** Open ports, the attack surface of the device. */
export const listeningPorts = periodic({
  ...EVENTS.ListeningPorts,
  version: '1.0',
  summary:
    'Every listening TCP socket, and every bound UDP socket that is not connected; those that are reachable from outside first.',
  source: 'netlink sock_diag, see sock_diag(7); /proc/net/{tcp,tcp6,udp,udp6} if the kernel lacks sock_diag',

  payload: v.strictObject({
    Protocol: oneOf(
      ['tcp', 'tcp6', 'udp', 'udp6'],
      'Transport protocol and address family; an IPv6 socket may also accept IPv4.',
    ),
    LocalAddress: v.optional(text('Address bound to, RFC 5952; 0.0.0.0 or :: means all interfaces.')),
    LocalPort: text(
      'Port bound to, in decimal; a range such as 8000-8009 for adjacent ports of one process at one address.',
    ),
    ExtraDetails: extraDetails(
      'UserId: owner of the socket. Pid and Executable: a process that has it open, if the agent may see it. Zone: the ' +
        'interface of a link-local address. Count: number of ports in a range.',
    ),
  }),

  inParts: true,

  trace: ({ sockets }, signal) => sockets.trace(signal),

  sourceStatus: ({ sockets }) => sockets.status(),

  count: (rows) => rows.reduce((all, { ExtraDetails }) => all + Number(ExtraDetails?.Count ?? 1), 0),

  async collect({ sockets }, signal) {
    // With tens of thousands of sockets, each step takes about 30 ms. The event loop runs in between.
    const ranges = merged(await sockets.listening(signal));
    await nextTurn();
    const ordered = inOrderOfImportance(ranges);
    await nextTurn();
    return ordered.map(row);
  },
});

const row = ({ socket, lastPort }: PortRange) => {
  const { protocol, localAddress, localPort, zone, userId, pid, executable } = socket;
  const isRange = lastPort > localPort;
  return {
    Protocol: protocol,
    LocalAddress: localAddress,
    LocalPort: isRange ? `${localPort}-${lastPort}` : String(localPort),
    ...details({
      Pid: pid?.toString(),
      Executable: executable,
      UserId: String(userId),
      Zone: zone,
      Count: isRange ? String(lastPort - localPort + 1) : undefined,
    }),
  };
};
