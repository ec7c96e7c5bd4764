import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { suiteFolder } from '../harness/folders.ts';

const SOURCE = new URL('../../../test/system/native/fuse.c', import.meta.url).pathname;
/** The numbers of /dev/fuse, see Documentation/admin-guide/devices.txt. */
const [MAJOR, MINOR] = ['10', '229'];
const NOBODY = '65534';

/** FUSE file systems whose server falls silent as soon as the program on it has been started: native/fuse.c. */
export class SilentMounts {
  /** Why there can be none; `undefined` when there can. */
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
    // As udev makes it where there is one: any user can open it.
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
   * Mounts one, and starts the program on it, which lives on with the argument `stay`, and ends at once without.
   *
   * @param where `host`: for everybody to see. `private`: by an ordinary user, in namespaces of his own, where the kernel
   *   refuses others unless they hold a descriptor. `hidden`: in a mount namespace of its own, as by fusermount(1) and then
   *   only left there
   * @returns path of the program, once it has been started
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

  /** Ends the servers, which wakes up whoever waits for them. */
  async remove(): Promise<void> {
    for (const child of this.#running.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    for (const point of this.#mounted.splice(0)) spawnSync('umount', ['-l', point]);
  }
}
