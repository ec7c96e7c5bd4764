import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { suiteFolder } from '../harness/folders.ts';

const SOURCE = new URL('../../../test/system/native/fuse.c', import.meta.url).pathname;
/** Major and minor number of /dev/fuse, see Documentation/admin-guide/devices.txt. */
const [MAJOR, MINOR] = ['10', '229'];
const NOBODY = '65534';

/** FUSE file systems whose server stops responding as soon as the program on it has been started: native/fuse.c. */
export class SilentMounts {
  /** Why this machine can't mount one; `undefined` if it can. */
  readonly missing: string | undefined;
  readonly #folder = suiteFolder();
  readonly #running: ChildProcess[] = [];
  readonly #mounted: string[] = [];

  constructor() {
    chmodSync(this.#folder, 0o755);
    this.missing = this.#prepare();
  }

  #prepare(): string | undefined {
    if (process.getuid?.() !== 0) return 'this is not root';
    // Any user can open it, as with udev.
    if (spawnSync('mknod', ['-m', '666', this.#device, 'c', MAJOR, MINOR]).status !== 0) return 'there is no mknod';
    const compiler = ['cc', 'gcc', 'clang'].find((name) => spawnSync(name, ['--version']).status === 0);
    if (compiler === undefined) return 'there is no C compiler';
    const { status, stderr } = spawnSync(compiler, ['-O1', '-o', this.#program, SOURCE], { encoding: 'utf8' });
    if (status !== 0) return `fuse.c could not be built: ${stderr}`;
    try {
      closeSync(openSync(this.#device, 'r+'));
      return undefined;
    } catch (error) {
      return `the kernel has no FUSE: ${(error as Error).message}`;
    }
  }

  get #device(): string {
    return join(this.#folder, 'fuse');
  }

  get #program(): string {
    return join(this.#folder, 'server');
  }

  /**
   * Mounts a file system and starts the program on it. With the argument `stay`, the program runs until it is killed; otherwise it
   * exits immediately.
   *
   * @param where `host`: visible to all processes. `private`: by an ordinary user, in that user's own namespaces, where the kernel
   *   refuses access to other processes unless they hold a descriptor. `hidden`: in a new mount namespace, as by fusermount(1)
   *   followed by an unmount on the host
   * @returns path of the started program
   */
  async start(where: 'host' | 'private' | 'hidden', args: readonly string[]): Promise<string> {
    const point = join(this.#folder, `mount-${this.#running.length}`);
    mkdirSync(point);
    const server = [this.#program, 'silent', this.#device, point, this.#program, ...args];
    const within = {
      host: [],
      private: ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', 'unshare', '-Urm'],
      hidden: ['unshare', '-m', '--propagation', 'private'],
    };
    const [command = '', ...rest] = [...within[where], ...server];
    if (where === 'host') this.#mounted.push(point);
    const child = spawn(command, rest, { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#running.push(child);
    for await (const line of createInterface({ input: child.stdout })) {
      if (line === 'started') return join(point, 'program');
    }
    throw new Error(`the server ended with ${child.exitCode}`);
  }

  /** Stops the servers, which wakes up all processes that wait for them. */
  async remove(): Promise<void> {
    for (const child of this.#running.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    for (const point of this.#mounted.splice(0)) spawnSync('umount', ['-l', point]);
  }
}
