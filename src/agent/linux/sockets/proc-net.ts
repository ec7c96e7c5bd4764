import { open } from 'node:fs/promises';
import { endianness } from 'node:os';
import { errnoOf } from '../../../core/base/errors.ts';
import type { ListeningSocket } from '../../../core/contract/sources.ts';
import { formatAddress } from '../../host/ip-address.ts';
import { addressOf, parseProcNetLine } from '../../host/proc-net.ts';
import { PROTOCOL_NAMES, PROTOCOLS, type WaitingSocket } from './sock-diag.ts';

/* The fallback for kernels without inet_diag and machines without koffi: it takes three times the CPU time and does not
 * report the interface of a link-local address. */

/**
 * Reads one line of /proc/net/tcp, tcp6, udp or udp6.
 *
 * @returns `undefined` for the heading, a malformed line, and a socket that is not listening
 */
export function parseLine(
  line: string,
  protocol: ListeningSocket['protocol'],
  order: 'LE' | 'BE' = endianness(),
): WaitingSocket | undefined {
  const socket = parseProcNetLine(line);
  if (socket === undefined) return undefined;
  const { local, remote, userId, inode } = socket;
  const { family, state } = PROTOCOLS[protocol];
  if (socket.state !== state || local.port === 0 || remote.port !== 0) return undefined;
  const bytes = addressOf(local, order);
  if (bytes?.length !== (family === 2 ? 4 : 16)) return undefined;
  return { protocol, localAddress: formatAddress(bytes), localPort: local.port, userId, inode };
}

/** Longer than any line the kernel writes; a longer one is skipped. */
const LONGEST_LINE = 4096;

/**
 * Passes on the listening sockets of this process's network namespace as they are read. Yields to the event loop after
 * each 64 KiB of a file.
 *
 * @throws the file system's error when /proc/net/tcp is missing; the files of the other protocols are optional
 */
export async function listSockets(
  show: (socket: WaitingSocket) => void,
  signal: AbortSignal,
  proc = '/proc',
): Promise<void> {
  for (const protocol of PROTOCOL_NAMES) {
    try {
      for await (const line of linesOf(`${proc}/net/${protocol}`)) {
        signal.throwIfAborted();
        const socket = parseLine(line, protocol);
        if (socket !== undefined) show(socket);
      }
    } catch (error) {
      if (protocol === 'tcp' || errnoOf(error) !== 'ENOENT') throw error;
    }
  }
}

async function* linesOf(path: string): AsyncGenerator<string> {
  const file = await open(path);
  try {
    const part = Buffer.allocUnsafe(64 * 1024);
    let rest = '';
    for (;;) {
      const { bytesRead } = await file.read(part, 0, part.length, null);
      if (bytesRead === 0) break;
      const lines = (rest + part.toString('latin1', 0, bytesRead)).split('\n');
      rest = (lines.pop() ?? '').slice(0, LONGEST_LINE);
      yield* lines;
    }
    if (rest !== '') yield rest;
  } finally {
    await file.close();
  }
}
