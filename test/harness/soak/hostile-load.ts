import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../../src/core/base/clock.ts';
import { seconds } from '../../../src/core/base/duration.ts';
import { ATTACKER, FuseHang } from '../../system/fuse-hang.ts';
import { suiteFolder } from '../folders.ts';

const HOLD_SOCKETS = new URL('../../../../test/system/native/hold-sockets.c', import.meta.url).pathname;

/** Processes that block any reader of their arguments. */
const HANGING = 2;
const LISTENERS = 2_000;
/** Processes with long arguments, and their length: one argument may have 128 KiB, see execve(2). */
const LONG_ARGUMENTS = 40;
const ARGUMENT_BYTES = 120_000;
/** Programs in a row, as fast as a shell starts them. */
const FORKS = 400;
/** Names that the kernel shows for a process, and that any process can set. */
const FALSE_NAMES = ['chronyd', 'sshd', 'kworker/0:0', 'auditd'];
const RAID_LASTS = seconds(10);

/** Attacks by which an unprivileged user can try to blind the agent or make it grow. All of them are actually run. */
export class HostileLoad {
  readonly #children = new Set<ChildProcess>();

  static missing(): string | undefined {
    return FuseHang.missing();
  }

  /** Starts the lasting load: many listeners. */
  async start(): Promise<void> {
    const folder = suiteFolder();
    chmodSync(folder, 0o755);
    const program = join(folder, 'hold-sockets');
    execFileSync('cc', ['-O1', '-o', program, HOLD_SOCKETS]);
    const holder = this.#keep(
      spawn(program, [ATTACKER, '127.0.9.1', 1_024, LISTENERS, 2].map(String), { stdio: ['pipe', 'pipe', 'inherit'] }),
    );
    if (holder.stdout !== null) await once(holder.stdout, 'data');
  }

  /** Some seconds of all other attacks. A program that lists processes in the meantime, such as ps(1), blocks until the end. */
  async raid(signal: AbortSignal): Promise<void> {
    const hang = await FuseHang.start(HANGING);
    const raiders = [
      ...FALSE_NAMES.map((name) =>
        this.#asAttacker('bash', ['-c', 'printf %s "$0" >/proc/self/comm; read -r _', name]),
      ),
      ...Array.from({ length: LONG_ARGUMENTS }, () => this.#asAttacker('cat', ['-', 'x'.repeat(ARGUMENT_BYTES)])),
      this.#asAttacker('nice', [
        '-n',
        '19',
        'sh',
        '-c',
        `i=0; while [ $i -lt ${FORKS} ]; do /bin/true; i=$((i+1)); done`,
      ]),
    ];
    try {
      await systemClock.sleep(RAID_LASTS, signal);
    } finally {
      for (const raider of raiders) raider.kill('SIGKILL');
      await hang.end();
    }
  }

  end(): void {
    for (const child of this.#children) child.kill('SIGKILL');
  }

  #asAttacker(program: string, args: readonly string[]): ChildProcess {
    const become = [`--reuid=${ATTACKER}`, `--regid=${ATTACKER}`, '--clear-groups', '--', program];
    return this.#keep(spawn('setpriv', [...become, ...args], { stdio: ['pipe', 'ignore', 'ignore'] }));
  }

  #keep(child: ChildProcess): ChildProcess {
    this.#children.add(child);
    child.on('error', () => this.#children.delete(child));
    child.on('exit', () => this.#children.delete(child));
    child.stdin?.on('error', () => {}); // it has ended
    return child;
  }
}
