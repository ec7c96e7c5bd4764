import { isLoopback } from '../../../core/contract/ip-network.ts';
import type { Unreadable } from '../../host/host-files.ts';
import { formatAddress } from '../../host/ip-address.ts';
import { addressOf, parseProcNetLine, TCP_CLOSE, TCP_LISTEN } from '../../host/proc-net.ts';
import type { Access } from '../access.ts';

/** The part of `Access` that is needed here. */
type Needs = Pick<Access, 'files' | 'pace' | 'netFolder'>;

/** A listening socket. */
export interface Listener {
  readonly protocol: 'tcp' | 'udp';
  readonly port: number;
  readonly address: string;
  readonly loopback: boolean;
}

const MAX_BYTES = 4 * 1024 * 1024;

const WAITING = { tcp: TCP_LISTEN, udp: TCP_CLOSE };

/** Listening sockets, and by protocol why the list may be incomplete. */
export interface Listeners {
  readonly found: readonly Listener[];
  readonly unreadable: Readonly<Partial<Record<Listener['protocol'], Unreadable>>>;
}

/**
 * Listening sockets, by /proc/net/{tcp,udp}{,6}. Only the beginning of a file longer than the limit is read. The kernel
 * lists listening TCP sockets first, so the list is complete as soon as it contains a connection.
 */
export async function readListeners(access: Needs): Promise<Listeners> {
  const listeners: Listener[] = [];
  let files = 0;
  const unreadable: Partial<Record<Listener['protocol'], Unreadable>> = {};
  for (const [file, protocol] of [
    ['tcp', 'tcp'],
    ['tcp6', 'tcp'],
    ['udp', 'udp'],
    ['udp6', 'udp'],
  ] as const) {
    const path = `${access.netFolder}/${file}`;
    const look = access.files.beginning(path, MAX_BYTES);
    if ('unreadable' in look) unreadable[protocol] ??= look;
    if (!('found' in look)) continue; // a kernel without IPv6 does not have its files
    files += 1;
    let count = 0;
    let hasConnections = false;
    for (const line of look.found.bytes.toString('latin1').split('\n')) {
      const socket = parseProcNetLine(line);
      const bytes = socket?.state === WAITING[protocol] ? addressOf(socket.local) : undefined;
      if (socket !== undefined && bytes !== undefined) {
        const address = formatAddress(bytes);
        listeners.push({ protocol, port: socket.local.port, address, loopback: isLoopback(address) });
      } else if (socket !== undefined) hasConnections = true;
      if (++count % 500 === 0) await access.pace();
    }
    if (look.found.cut && !(protocol === 'tcp' && hasConnections))
      unreadable[protocol] ??= { unreadable: `${path} is longer than ${MAX_BYTES} bytes`, denied: false };
  }
  const none: Unreadable = { unreadable: `there is no ${access.netFolder}/tcp`, denied: false };
  return { found: listeners, unreadable: files > 0 ? unreadable : { tcp: none, udp: none, ...unreadable } };
}
