import { existsSync, lstatSync, readlinkSync, statSync } from 'node:fs';
import { posix } from 'node:path';
import { exists } from '../../core/base/paths.ts';

/** The number of links that the kernel follows in one path: MAXSYMLINKS of linux/namei.h. */
const MAX_LINKS = 40;

/**
 * Resolves a path below `root`, such as a host's root that is mounted in a container, as after chroot(2): absolute
 * links begin at `root` again, and `..` does not lead out of it.
 *
 * Not safe against links that change during the call. Components that do not exist are kept, so that opening the file
 * reports the error.
 *
 * @param path below the root: `etc/os-release`
 * @throws Error with code ELOOP when the path leads through more than 40 links
 */
export function inRoot(root: string, path: string): string {
  if (root === '/') return posix.resolve('/', path); // the kernel does all that itself
  const ahead = path.split('/');
  const behind: string[] = [];
  let links = 0;
  for (let part = ahead.shift(); part !== undefined; part = ahead.shift()) {
    if (part === '' || part === '.') continue;
    if (part === '..') {
      behind.pop();
      continue;
    }
    const target = readLink(posix.join(root, ...behind, part));
    if (target === undefined) {
      behind.push(part);
      continue;
    }
    if (++links > MAX_LINKS)
      throw Object.assign(new Error(`ELOOP: too many symbolic links in ${path}`), { code: 'ELOOP' });
    if (target.startsWith('/')) behind.length = 0;
    ahead.unshift(...target.split('/'));
  }
  return posix.join(root, ...behind);
}

function readLink(path: string): string | undefined {
  return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() ? readlinkSync(path) : undefined;
}

/** An entry that each always has, to recognize an empty mount point. */
const PROOF = { proc: 'meminfo', sys: 'devices' };

/**
 * The path of the host's /proc or /sys: below the host's root if they are mounted there, else this process's own, which
 * is mostly the same. (Container runtimes hide /sys/firmware, and show the container's network in /sys/class/net.)
 */
export function hostMount(hostRoot: string, name: keyof typeof PROOF): string {
  const path = posix.join(hostRoot, name);
  return existsSync(`${path}/${PROOF[name]}`) ? path : `/${name}`;
}

/** The inode number of the initial namespace, from linux/proc_ns.h. */
const FIRST_PIDS = 'pid:[4026531836]';

/** Where to read of the host's processes: see `unsharedProc`. */
export const hostProc = (hostRoot: string): string => unsharedProc(posix.join(hostRoot, 'proc'));

/**
 * The path of an instance of procfs that shows the same processes as the one at `proc`: this process's own if that is another
 * instance, as in a container with the host's processes (Linux 5.8). A user can keep directories of a visible instance
 * locked indefinitely, such as those of their own processes; readers of these directories then wait.
 */
export function unsharedProc(proc: string): string {
  const self = String(process.pid);
  if (linkAt('/proc/self') !== self || linkAt(`${proc}/self`) !== self) return proc;
  const pids = linkAt('/proc/self/ns/pid');
  // Outside of the initial namespace, both have to show the same first process.
  const isSame = pids !== undefined && (pids === FIRST_PIDS || pids === linkAt(`${proc}/1/ns/pid`));
  return isSame && deviceOf(proc) !== deviceOf('/proc') ? '/proc' : proc;
}

function linkAt(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

const deviceOf = (path: string): number | undefined => statSync(path, { throwIfNoEntry: false })?.dev;

/** The root directory of process 1; reading it requires CAP_SYS_PTRACE. */
export const FIRST_ROOT = '/proc/1/root';

/**
 * Whether this process has another mount namespace than process 1, and can read that one. A sandboxed service has
 * private /dev, /tmp and /home, no kernel modules, and read-only mounts, which do not describe the system.
 */
export function hasOwnMounts(): boolean {
  const first = mountsOf('1');
  return first !== undefined && first !== mountsOf('self') && exists(`${FIRST_ROOT}/proc/1`);
}

function mountsOf(process: string): string | undefined {
  try {
    return readlinkSync(`/proc/${process}/ns/mnt`);
  } catch {
    return undefined; // another user's process, which may not be traced
  }
}
