import { existsSync, lstatSync, readlinkSync } from 'node:fs';
import { posix } from 'node:path';

/** The number of links that the kernel follows in one path: MAXSYMLINKS of linux/namei.h. */
const MAX_LINKS = 40;

/**
 * Resolves a path below `root`, such as a host's root that is mounted in a container, as after chroot(2): absolute
 * links begin at `root` again, and `..` does not lead out of it.
 *
 * Not safe against links that are changed meanwhile. Components that do not exist are kept, so that opening the file
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
