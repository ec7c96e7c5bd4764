import type { Unreadable } from '../../host/host-files.ts';
import type { System } from '../system.ts';

/** A socket that anyone can send to. */
export interface Listener {
  readonly protocol: 'tcp' | 'udp';
  readonly port: number;
  readonly address: string;
  readonly loopback: boolean;
}

const MOST_BYTES = 4 * 1024 * 1024;

/** TCP_LISTEN and, for UDP, TCP_CLOSE: a socket that is bound and not connected; include/net/tcp_states.h. */
const WAITING = { tcp: '0A', udp: '07' };

/** What waits for others, and why there may be more, by protocol. */
export interface Listeners {
  readonly found: readonly Listener[];
  readonly unreadable: Readonly<Partial<Record<Listener['protocol'], Unreadable>>>;
}

/**
 * What waits for others, by /proc/net/{tcp,udp}{,6}. Of a file that is longer than its limit the beginning is read: of TCP
 * the kernel lists what listens first, so that nothing is missing where a connection has been seen.
 *
 *     0: 0100007F:0CEA 00000000:0000 0A 00000000:00000000 00:00000000 …
 */
export async function readListeners(system: System): Promise<Listeners> {
  const listeners: Listener[] = [];
  let files = 0;
  const unreadable: Partial<Record<Listener['protocol'], Unreadable>> = {};
  for (const [file, protocol] of [
    ['tcp', 'tcp'],
    ['tcp6', 'tcp'],
    ['udp', 'udp'],
    ['udp6', 'udp'],
  ] as const) {
    const path = `${system.netFolder}/${file}`;
    const look = system.files.beginning(path, MOST_BYTES);
    if ('unreadable' in look) unreadable[protocol] ??= look;
    if (!('found' in look)) continue; // a kernel without IPv6 has no files of it
    files += 1;
    let count = 0;
    let hasConnections = false;
    for (const line of look.found.bytes.toString('latin1').split('\n')) {
      const match = /^\s*\d+: ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} ([0-9A-F]{2})/.exec(line);
      if (match?.[1] !== undefined && match[3] === WAITING[protocol])
        listeners.push({ protocol, port: Number.parseInt(match[2] ?? '', 16), ...addressOf(match[1]) });
      else if (match !== null) hasConnections = true;
      if (++count % 500 === 0) await system.pace();
    }
    if (look.found.cut && !(protocol === 'tcp' && hasConnections))
      unreadable[protocol] ??= { unreadable: `${path} is longer than ${MOST_BYTES} bytes`, denied: false };
  }
  const none: Unreadable = { unreadable: `there is no ${system.netFolder}/tcp`, denied: false };
  return { found: listeners, unreadable: files > 0 ? unreadable : { tcp: none, udp: none, ...unreadable } };
}

/** Words of 32 bits in the machine's order, which is little-endian wherever Node runs, s390x excepted. */
function addressOf(hex: string): { address: string; loopback: boolean } {
  const bytes = [...hex.matchAll(/.{8}/g)].flatMap(([word]) => [...Buffer.from(word, 'hex')].reverse());
  if (bytes.length === 4) return { address: bytes.join('.'), loopback: bytes[0] === 127 };
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[i * 2] ?? 0) << 8) | (bytes[i * 2 + 1] ?? 0));
  const isMapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
  if (isMapped) return { address: `::ffff:${bytes.slice(12).join('.')}`, loopback: bytes[12] === 127 };
  const isLocal = groups.slice(0, 7).every((group) => group === 0) && groups[7] === 1;
  const isAny = groups.every((group) => group === 0);
  return {
    address: isAny ? '::' : isLocal ? '::1' : groups.map((group) => group.toString(16)).join(':'),
    loopback: isLocal,
  };
}
