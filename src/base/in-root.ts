import { existsSync, lstatSync, readlinkSync } from 'node:fs';
import { posix } from 'node:path';

/** As many links as the kernel follows on one way: MAXSYMLINKS of linux/namei.h. */
const MOST_LINKS = 40;

/**
 * The path of a host's file as this process sees it. In a container the host's root is mounted somewhere; links in there
 * mean the host's paths, as they would after chroot(2): an absolute one begins at `root` again, and `..` doesn't lead
 * out of it.
 *
 * It is for hosts that are trusted to leave their links alone meanwhile. A part that isn't there is taken as it is, so
 * that opening the file tells what is the matter.
 *
 * @param path below the root: `etc/os-release`
 * @throws Error with code ELOOP when there are more than 40 links on the way
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
    if (++links > MOST_LINKS)
      throw Object.assign(new Error(`ELOOP: too many links on the way to ${path}`), { code: 'ELOOP' });
    if (target.startsWith('/')) behind.length = 0;
    ahead.unshift(...target.split('/'));
  }
  return posix.join(root, ...behind);
}

function readLink(path: string): string | undefined {
  return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() ? readlinkSync(path) : undefined;
}

/** Something that is always in there. */
const PROOF = { proc: 'meminfo', sys: 'devices' };

/**
 * Where the host's /proc or /sys is: below its root when it was mounted with all that is in it, else this process's own,
 * which says mostly the same. (Container runtimes hide /sys/firmware, and show the container's network in /sys/class/net.)
 */
export function hostMount(hostRoot: string, name: keyof typeof PROOF): string {
  const path = posix.join(hostRoot, name);
  return existsSync(`${path}/${PROOF[name]}`) ? path : `/${name}`;
}
