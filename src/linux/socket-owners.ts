import { readdirSync, readlinkSync } from 'node:fs';

/** The process that holds a socket. */
export interface SocketOwner {
  readonly pid: number;
  /** Where its image lies, as the kernel says it: with ` (deleted)` behind when it was replaced. Absent when hidden. */
  readonly executable?: string;
}

/** File descriptors looked at before others get their turn: about 1 ms. */
const AT_ONCE = 200;

/**
 * Finds who holds which socket, by the links in /proc/PID/fd. See proc_pid_fd(5).
 *
 * Several processes can hold the same one: the lowest id is taken, which is the parent that made it; but init only when
 * nobody else has it, since systemd keeps what it passes on. Processes that can't be looked into (which takes
 * CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH) or that end meanwhile are passed over.
 *
 * @param inodes of the sockets asked about; the walk ends as soon as all are found
 * @throws the signal's reason when it aborts
 */
export async function socketOwners(
  inodes: Iterable<number>,
  signal: AbortSignal,
  proc = '/proc',
): Promise<Map<number, SocketOwner>> {
  const wanted = new Set(inodes);
  wanted.delete(0);
  const owners = new Map<number, SocketOwner>();
  let looked = 0;
  for (const pid of processes(proc)) {
    if (wanted.size === 0) break;
    for (const fd of namesIn(`${proc}/${pid}/fd`)) {
      looked += 1;
      if (looked % AT_ONCE === 0) {
        await new Promise((resolve) => setImmediate(resolve));
        signal.throwIfAborted();
      }
      const inode = socketInode(target(`${proc}/${pid}/fd/${fd}`));
      if (inode === undefined || !wanted.delete(inode)) continue;
      owners.set(inode, ownerOf(pid, proc));
    }
  }
  return owners;
}

/** All process ids, ascending, init last. */
function processes(proc: string): number[] {
  const ids = namesIn(proc).filter((name) => /^\d+$/.test(name));
  return ids.map(Number).sort((a, b) => Number(a === 1) - Number(b === 1) || a - b);
}

function ownerOf(pid: number, proc: string): SocketOwner {
  const executable = target(`${proc}/${pid}/exe`);
  return executable === undefined ? { pid } : { pid, executable };
}

/** `socket:[1234]` → 1234. */
export function socketInode(link: string | undefined): number | undefined {
  const match = link?.startsWith('socket:[') ? /^socket:\[(\d{1,15})\]$/.exec(link) : null;
  return match === null ? undefined : Number(match[1]);
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function target(link: string): string | undefined {
  try {
    return readlinkSync(link);
  } catch {
    return undefined;
  }
}
