import { fstatSync, readFileSync } from 'node:fs';
import { netlinkSockets } from './known-sockets.ts';

/* Netlink sockets that a service manager has opened and passed on; see sd_listen_fds(3) and ListenNetlink= of
 * systemd.socket(5). With them an installation needs no native code for what they are for.
 *
 * What one of them must never be is the audit daemon's: the service manager keeps it open, so the slot stays with a
 * killed agent, and nobody, not even its successor on the same socket, can free or take it (tried on 6.18: EEXIST and
 * EACCES until the last descriptor is closed). A registered member of the multicast group also gets every record twice.
 * So they serve for asking, and for listening. */

/** SD_LISTEN_FDS_START */
const FIRST_FD = 3;
const MOST_FDS = 64;
const O_NONBLOCK = 0o4000;

interface Inherited {
  readonly fd: number;
  readonly protocol: number;
  readonly groups: number;
  /** In use by a part of the agent. */
  taken: boolean;
  /** Has been used before: what it holds now came when nobody was to listen. */
  used: boolean;
}

let inherited: Inherited[] | undefined;

/** Sockets that were passed on, by LISTEN_PID and LISTEN_FDS. Blocking ones are left alone: they would stop the agent. */
function find(environment: NodeJS.ProcessEnv): Inherited[] {
  if (environment.LISTEN_PID !== String(process.pid)) return [];
  const count = Math.min(Number(environment.LISTEN_FDS) || 0, MOST_FDS);
  if (count === 0) return [];
  try {
    const known = netlinkSockets();
    return Array.from({ length: count }, (_, index) => FIRST_FD + index).flatMap((fd) => {
      const socket = known.get(inodeOf(fd) ?? -1);
      if (socket === undefined || isBlocking(fd)) return [];
      const { protocol, groups } = socket;
      return [{ fd, protocol, groups, taken: false, used: false }];
    });
  } catch {
    return []; // no /proc: then they are of no use
  }
}

function inodeOf(fd: number): number | undefined {
  try {
    return fstatSync(fd).ino;
  } catch {
    return undefined; // there is none
  }
}

function isBlocking(fd: number): boolean {
  const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1] ?? '0';
  return (Number.parseInt(flags, 8) & O_NONBLOCK) === 0;
}

/** An inherited socket, on loan. */
export interface Loan {
  readonly fd: number;
  /** Whether it was on loan before: what it holds came while nobody was to listen. */
  readonly isStale: boolean;
  /** Instead of closing it. */
  giveBack(): void;
}

/** Takes an inherited socket of that protocol and with those multicast groups, if one is left. */
export function takeInherited(protocol: number, groups: number): Loan | undefined {
  inherited ??= find(process.env);
  const match = inherited.find((socket) => !socket.taken && socket.protocol === protocol && socket.groups === groups);
  if (match === undefined) return undefined;
  const isStale = match.used;
  match.taken = true;
  match.used = true;
  return {
    fd: match.fd,
    isStale,
    giveBack() {
      match.taken = false;
    },
  };
}
