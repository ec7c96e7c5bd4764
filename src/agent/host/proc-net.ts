import { endianness } from 'node:os';
import { parseProcAddress } from './ip-address.ts';

/** States of include/net/tcp_states.h: a listening TCP socket; a UDP socket that is bound and not connected. */
export const TCP_LISTEN = 0x0a;
export const TCP_CLOSE = 0x07;

/** One end of a socket, its address unparsed: most lines are skipped before the address matters. */
export interface ProcNetEnd {
  readonly hex: string;
  readonly port: number;
}

/** A line of /proc/PID/net/tcp, tcp6, udp or udp6. */
export interface ProcNetSocket {
  readonly local: ProcNetEnd;
  readonly remote: ProcNetEnd;
  readonly state: number;
  readonly userId: number;
  /** 0 when no process holds it any more. */
  readonly inode: number;
}

const LINE =
  /^\s*\d{1,9}: ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) ([0-9A-F]{2}) \S{1,40} \S{1,40} \S{1,40} {1,20}(\d{1,10}) {1,20}\d{1,10} (\d{1,10}) /i;

/**
 * Reads one line of /proc/PID/net/tcp, tcp6, udp or udp6, see proc_pid_net(5):
 *
 *      sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
 *       0: 3500007F:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101        0 1234 1 0000000000000000 …
 *
 * @returns `undefined` for the heading, and for a malformed line
 */
export function parseProcNetLine(line: string): ProcNetSocket | undefined {
  const match = LINE.exec(line);
  if (match === null) return undefined;
  const [, local = '', localPort = '', remote = '', remotePort = '', state = '', userId, inode] = match;
  return {
    local: { hex: local, port: Number.parseInt(localPort, 16) },
    remote: { hex: remote, port: Number.parseInt(remotePort, 16) },
    state: Number.parseInt(state, 16),
    userId: Number(userId),
    inode: Number(inode),
  };
}

/** The address of one end: 4 or 16 bytes, in network order. */
export const addressOf = ({ hex }: ProcNetEnd, order: 'LE' | 'BE' = endianness()): Buffer | undefined =>
  parseProcAddress(hex, order);
