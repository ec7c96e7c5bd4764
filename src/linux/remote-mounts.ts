import type { Clock } from '../base/clock.ts';
import { type Duration, milliseconds, seconds } from '../base/duration.ts';
import { readOptional } from './bounded-file.ts';

/** Where what is asked for is answered by another machine, or by some program: for ever, when that doesn't answer. */
const REMOTE =
  /^(?:nfs4?|cifs|smb3|smbfs|afs|ceph|coda|lustre|beegfs|orangefs|pvfs2|gfs2|ocfs2|9p|autofs|fuse|fuse\..*)$/;

const MOST_BYTES = 1024 * 1024;
const READ_EVERY = seconds(5);

/**
 * The mount points of remote file systems in /proc/PID/mountinfo, see proc_pid_mountinfo(5): the fifth field of a line,
 * and the one behind ` - `. The root directory isn't among them: without it nothing works anyway.
 *
 *     36 25 0:31 / /mnt/my\040share rw,noatime shared:7 - nfs4 server:/export rw,vers=4.2
 */
export function remoteMounts(mountinfo: string): string[] {
  const points: string[] = [];
  for (const line of mountinfo.split('\n')) {
    const [mount = '', filesystem = ''] = line.split(' - ', 2);
    const point = mount.split(' ', 5)[4];
    if (point === undefined || point === '/' || !REMOTE.test(filesystem.split(' ', 1)[0] ?? '')) continue;
    points.push(
      point.replace(/\\([0-3][0-7]{2})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 8))),
    );
  }
  return points;
}

/** Says where not to look, lest the agent waits for another machine. A mount is known of five seconds later. */
export class RemoteMounts {
  readonly #clock: Clock;
  readonly #mountinfo: string;
  #points: readonly string[] = [];
  #readAt: Duration = milliseconds(Number.NEGATIVE_INFINITY);

  constructor({ clock, mountinfo = '/proc/self/mountinfo' }: { clock: Clock; mountinfo?: string }) {
    this.#clock = clock;
    this.#mountinfo = mountinfo;
  }

  hold(path: string, now: Duration = this.#clock.monotonic()): boolean {
    if (now - this.#readAt >= READ_EVERY) {
      this.#readAt = now;
      this.#points = remoteMounts(readOptional(this.#mountinfo, MOST_BYTES) ?? '');
    }
    return this.#points.some((point) => path.startsWith(point) && path.charAt(point.length) === '/');
  }
}
