import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { systemClock } from '../../src/core/base/clock.ts';
import { type Duration, milliseconds, seconds } from '../../src/core/base/duration.ts';

const PACKAGES = 'systemd,systemd-sysv,dbus,nftables,iproute2,procps,ca-certificates';

/** Result of a command in the system. */
export interface Outcome {
  readonly status: number | null;
  /** Standard output and standard error. */
  readonly output: string;
}

/** A Debian system booted by systemd in systemd-nspawn; its changes are discarded when it ends. */
export class BootedSystem {
  readonly #process: ChildProcess;
  #leader = '';

  private constructor(nspawn: ChildProcess) {
    this.#process = nspawn;
  }

  /**
   * Creates the system's tree if it doesn't exist, which takes a minute and needs Debian's mirror.
   *
   * @param more additional packages
   */
  static make(tree: string, suite: string, more: readonly string[]): void {
    if (existsSync(tree)) return;
    const temporaryTree = `${tree}.new`;
    rmSync(temporaryTree, { recursive: true, force: true });
    mkdirSync(dirname(tree), { recursive: true });
    const args = [
      '--variant=minbase',
      `--include=${[PACKAGES, ...more].join(',')}`,
      suite,
      temporaryTree,
      'http://deb.debian.org/debian',
    ];
    const { status } = spawnSync('debootstrap', args, { stdio: ['ignore', 'ignore', 'inherit'] });
    if (status !== 0) throw new Error(`debootstrap ended with ${status}`);
    writeFileSync(`${temporaryTree}/etc/hosts`, '127.0.0.1 localhost\n');
    renameSync(temporaryTree, tree);
  }

  /** @param shown folders of this machine that are mounted in the system, read-only; keyed by their path there */
  static async boot(tree: string, shown: Readonly<Record<string, string>>): Promise<BootedSystem> {
    mkdirSync('/run/systemd', { recursive: true }); // this machine may not run systemd itself
    const binds = Object.entries(shown).map(([there, here]) => `--bind-ro=${here}:${there}`);
    const args = [
      '-D',
      tree,
      '--volatile=overlay',
      '--register=no',
      '--keep-unit',
      '--private-network',
      ...binds,
      '-b',
    ];
    const system = new BootedSystem(spawn('systemd-nspawn', args, { stdio: 'ignore' }));
    try {
      await system.until('booted', seconds(180), () => {
        system.#leader = system.#findLeader();
        return system.#leader !== '' && system.run('systemctl', 'is-active', 'multi-user.target').status === 0;
      });
      system.must('ip', 'link', 'set', 'lo', 'up');
      return system;
    } catch (error) {
      await system.end();
      throw error;
    }
  }

  /** Runs a command in the system and waits until it exits. */
  run(...command: readonly string[]): Outcome {
    const { status, stdout, stderr } = spawnSync('nsenter', ['-t', this.#leader, '-a', ...command], {
      encoding: 'utf8',
      timeout: 120_000,
      maxBuffer: 16 * 1024 * 1024,
    });
    return { status, output: `${stdout}${stderr}` };
  }

  /** Like `run`, for commands that must not fail. @returns their output */
  must(...command: readonly string[]): string {
    const { status, output } = this.run(...command);
    if (status === 0) return output;
    const more = command[0] === 'systemctl' ? this.#stateOfService() : '';
    throw new Error(`${command.join(' ')} ended with ${status}:\n${output}${more}`);
  }

  /** Waits for a condition. @returns the time it took @throws Error with the state of the service after `limit` */
  async until(condition: string, limit: Duration, isMet: () => boolean): Promise<Duration> {
    const from = systemClock.monotonic();
    while (!isMet()) {
      if (systemClock.monotonic() - from > limit) {
        throw new Error(`not ${condition} within ${limit / 1_000} s\n${this.#stateOfService()}`);
      }
      await systemClock.sleep(milliseconds(200));
    }
    return milliseconds(systemClock.monotonic() - from);
  }

  async end(): Promise<void> {
    const ended = new Promise((resolve) => this.#process.once('exit', resolve));
    if (this.#process.exitCode !== null) return;
    if (this.#leader !== '') process.kill(Number(this.#leader), 'SIGKILL');
    else this.#process.kill('SIGKILL');
    await ended;
  }

  #stateOfService(): string {
    if (this.#leader === '') return '';
    const commands = [
      ['systemctl', 'status', 'vakt', '--no-pager', '--full', '--lines=30'],
      ['vakt', 'status'],
    ];
    return commands
      .map((command) => this.run(...command))
      .map(({ status, output }) => `${output}(${status})`)
      .join('\n');
  }

  #findLeader(): string {
    const { pid } = this.#process;
    const [leader = ''] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ');
    return leader !== '' && readFileSync(`/proc/${leader}/comm`, 'utf8') === 'systemd\n' ? leader : '';
  }
}
