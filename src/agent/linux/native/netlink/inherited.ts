import { fstatSync, readFileSync } from 'node:fs';
import { netlinkSockets } from './known-sockets.ts';

/* Netlink sockets opened and passed on by a service manager; see sd_listen_fds(3) and ListenNetlink= of systemd.socket(5).
 * With them an installation can do without native code.
 *
 * They must never be registered as the audit daemon's: the service manager keeps them open, so after a crash the slot
 * stays with the dead process, and no other process, not even the agent's successor with the same socket, can release or
 * take it (tried on 6.18: EEXIST and EACCES until the last descriptor is closed). A registered member of the multicast
 * group would also get every record twice. So they are used for requests and for listening. */

/** SD_LISTEN_FDS_START */
const FIRST_FD = 3;
const MAX_FDS = 64;
const O_NONBLOCK = 0o4000;

interface Inherited {
  readonly fd: number;
  readonly protocol: number;
  readonly groups: number;
  /** Used by a part of the agent at the moment. */
  taken: boolean;
  /** Was used before: data that is queued in it now arrived while it had no reader. */
  used: boolean;
}

let inherited: Inherited[] | undefined;

/** The sockets passed on by LISTEN_PID and LISTEN_FDS. Blocking ones are not used: reading them would block the agent. */
function find(environment: NodeJS.ProcessEnv): Inherited[] {
  if (environment.LISTEN_PID !== String(process.pid)) return [];
  const count = Math.min(Number(environment.LISTEN_FDS) || 0, MAX_FDS);
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
    return []; // without /proc, their protocols are unknown
  }
}

function inodeOf(fd: number): number | undefined {
  try {
    return fstatSync(fd).ino;
  } catch {
    return undefined; // not open
  }
}

function isBlocking(fd: number): boolean {
  const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1] ?? '0';
  return (Number.parseInt(flags, 8) & O_NONBLOCK) === 0;
}

/** An inherited socket that a part of the agent uses. */
export interface Loan {
  readonly fd: number;
  /** Whether it was used before: queued data then arrived while it had no reader. */
  readonly isStale: boolean;
  /** Returns it for later use; call it instead of closing the descriptor. */
  release(): void;
}

/** Takes a free inherited socket with this protocol and these multicast groups, if there is one. */
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
    release() {
      match.taken = false;
    },
  };
}
