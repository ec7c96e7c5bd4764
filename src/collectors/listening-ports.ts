import * as v from 'valibot';
import { periodic } from '../contract/collector.ts';
import type { ListeningSocket } from '../contract/sources.ts';
import { details, extraDetails, oneOf, text } from './fields.ts';

/** Sockets that wait for others: what an attacker can reach from outside. */
export const listeningPorts = periodic({
  name: 'ListeningPorts',
  type: 'Security',
  priority: 'High',
  version: '1.0',
  summary: 'Every TCP socket that listens and every UDP socket that is bound and not connected.',
  source: 'netlink sock_diag, see sock_diag(7); /proc/net/{tcp,tcp6,udp,udp6} where the kernel has none',

  payload: v.strictObject({
    Protocol: oneOf(
      ['tcp', 'tcp6', 'udp', 'udp6'],
      'Transport protocol and address family; an IPv6 socket may take IPv4 as well.',
    ),
    LocalAddress: v.optional(text('Address bound to, RFC 5952; 0.0.0.0 or :: is every interface.')),
    LocalPort: text('Port bound to, in decimal.'),
    ExtraDetails: extraDetails(
      'UserId: owner of the socket. Pid and Executable: a process that holds it, when it can be seen. ' +
        'Zone: the interface a link-local address belongs to.',
    ),
  }),

  sourceStatus: ({ sockets }) => sockets.status(),

  async collect({ sockets }, signal) {
    const rows = (await sockets.listening(signal)).map(row);
    // Sockets of one process that share a port (SO_REUSEPORT) would all say the same.
    return [...new Map(rows.map((payload) => [JSON.stringify(payload), payload])).values()];
  },
});

const row = ({ protocol, localAddress, localPort, zone, userId, pid, executable }: ListeningSocket) => ({
  Protocol: protocol,
  LocalAddress: localAddress,
  LocalPort: String(localPort),
  ...details({ Pid: pid?.toString(), Executable: executable, UserId: String(userId), Zone: zone }),
});
