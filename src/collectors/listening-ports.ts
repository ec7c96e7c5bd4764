import * as v from 'valibot';
import { nextTurn } from '../base/turn.ts';
import { periodic } from '../contract/collector.ts';
import { details, extraDetails, oneOf, text } from './fields.ts';
import { inOrderOfImportance, merged, type PortRange } from './port-ranges.ts';

/** Sockets that wait for others: what an attacker can reach from outside. */
export const listeningPorts = periodic({
  name: 'ListeningPorts',
  type: 'Security',
  priority: 'High',
  version: '1.0',
  summary:
    'Every TCP socket that listens and every UDP socket that is bound and not connected; those that can be reached from ' +
    'outside first.',
  source: 'netlink sock_diag, see sock_diag(7); /proc/net/{tcp,tcp6,udp,udp6} where the kernel has none',

  payload: v.strictObject({
    Protocol: oneOf(
      ['tcp', 'tcp6', 'udp', 'udp6'],
      'Transport protocol and address family; an IPv6 socket may take IPv4 as well.',
    ),
    LocalAddress: v.optional(text('Address bound to, RFC 5952; 0.0.0.0 or :: is every interface.')),
    LocalPort: text('Port bound to, in decimal; 8000-8009 for adjacent ports of one process at one address.'),
    ExtraDetails: extraDetails(
      'UserId: owner of the socket. Pid and Executable: a process that holds it, when it can be seen. ' +
        'Zone: the interface a link-local address belongs to. Count: how many ports a range has.',
    ),
  }),

  inParts: true,

  sourceStatus: ({ sockets }) => sockets.status(),

  count: (rows) => rows.reduce((all, { ExtraDetails }) => all + Number(ExtraDetails?.Count ?? 1), 0),

  async collect({ sockets }, signal) {
    // There may be tens of thousands: each step takes some 30 ms then, and others go on in between.
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
