import type { Unreadable } from '../../host/host-files.ts';
import { formatAddress, isLoopback } from '../../host/ip-address.ts';
import { addressOf, parseProcNetLine, TCP_CLOSE, TCP_LISTEN } from '../../host/proc-net.ts';
import type { Access } from '../access.ts';

/** The part of `Access` that is needed here. */
type Needs = Pick<Access, 'files' | 'pace' | 'netFolder'>;

/** A socket that anyone can send to. */
export interface Listener {
  readonly protocol: 'tcp' | 'udp';
  readonly port: number;
  readonly address: string;
  readonly loopback: boolean;
}

const MOST_BYTES = 4 * 1024 * 1024;

const WAITING = { tcp: TCP_LISTEN, udp: TCP_CLOSE };

/** What waits for others, and why there may be more, by protocol. */
export interface Listeners {
  readonly found: readonly Listener[];
  readonly unreadable: Readonly<Partial<Record<Listener['protocol'], Unreadable>>>;
}

/**
 * What waits for others, by /proc/net/{tcp,udp}{,6}. Of a file that is longer than its limit the beginning is read: of TCP
 * the kernel lists what listens first, so that nothing is missing where a connection has been seen.
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
    const look = access.files.beginning(path, MOST_BYTES);
    if ('unreadable' in look) unreadable[protocol] ??= look;
    if (!('found' in look)) continue; // a kernel without IPv6 has no files of it
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
      unreadable[protocol] ??= { unreadable: `${path} is longer than ${MOST_BYTES} bytes`, denied: false };
  }
  const none: Unreadable = { unreadable: `there is no ${access.netFolder}/tcp`, denied: false };
  return { found: listeners, unreadable: files > 0 ? unreadable : { tcp: none, udp: none, ...unreadable } };
}
