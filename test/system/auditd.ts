import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { AuditControl } from '../../src/agent/linux/audit/control.ts';
import type { AuditStatus } from '../../src/agent/linux/audit/status.ts';
import { milliseconds } from '../../src/core/base/duration.ts';
import { until } from '../harness/until.ts';

const AUDITD = '/usr/sbin/auditd';

/** A real auditd with its own configuration and log. */
export class Auditd {
  /** A fake host root: the log is at its usual path in it. */
  readonly root: string;
  readonly log: string;
  readonly #control: AuditControl;
  #process: ChildProcess | undefined;
  /** Audit's settings before the first start: auditd enables audit and never disables it. */
  #found: AuditStatus | undefined;

  /** @param root an empty folder, which the caller removes */
  constructor(control: AuditControl, root: string) {
    this.#control = control;
    this.root = root;
    this.log = join(root, 'var/log/audit/audit.log');
    const etc = join(root, 'etc');
    mkdirSync(join(this.root, 'var/log/audit'), { recursive: true });
    mkdirSync(join(etc, 'plugins.d'), { recursive: true });
    const settings = {
      log_file: this.log,
      log_format: 'ENRICHED',
      max_log_file: 50,
      max_log_file_action: 'ROTATE',
      num_logs: 10,
      plugin_dir: join(etc, 'plugins.d'),
      space_left: 2,
      admin_space_left: 1,
    };
    const text = Object.entries(settings).map(([name, value]) => `${name} = ${value}\n`);
    writeFileSync(join(etc, 'auditd.conf'), text.join(''), { mode: 0o640 });
    for (const folder of [this.root, etc]) chmodSync(folder, 0o750);
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  /** Tries to start once. @returns its exit status if it fails, or `undefined` once it is registered as the audit daemon */
  async tryToStart(): Promise<number | undefined> {
    this.#found ??= await this.#control.status();
    const child = spawn(AUDITD, ['-c', join(this.root, 'etc'), '-n'], { stdio: 'ignore' });
    this.#process = child;
    let exitCode: number | undefined;
    await until('auditd to take the slot, or to end', async () => {
      exitCode = child.exitCode ?? undefined;
      return exitCode !== undefined || (await this.#control.status()).pid === child.pid;
    });
    return exitCode;
  }

  /**
   * Retries like its unit: Restart=on-failure, RestartSec=100ms. The unit tries five times; on a loaded machine that may be too
   * few, so this retries for a minute.
   *
   * @returns the number of attempts
   */
  async start(): Promise<number> {
    let attempts = 0;
    const tries = async () => {
      attempts += 1;
      return (await this.tryToStart()) === undefined;
    };
    await until('auditd to start', tries, { every: milliseconds(100) });
    return attempts;
  }

  /** SIGUSR1: "rotate the logs". */
  async rotate(): Promise<void> {
    const { ino } = statSync(this.log);
    this.#process?.kill('SIGUSR1');
    // For a moment, no file has that name.
    const isNew = () => (statSync(this.log, { throwIfNoEntry: false })?.ino ?? ino) !== ino;
    await until('auditd to rotate its logs', isNew);
  }

  get text(): string {
    return readFileSync(this.log, 'latin1');
  }

  /** The log and the rotated logs. */
  get texts(): string[] {
    const folder = dirname(this.log);
    return readdirSync(folder).map((name) => readFileSync(join(folder, name), 'latin1'));
  }

  async stop(): Promise<void> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    await ended;
  }

  /** Stops auditd and restores audit's settings. */
  async remove(): Promise<void> {
    await this.stop();
    if (this.#found !== undefined) {
      const { enabled, failure, backlogLimit, backlogWaitTime } = this.#found;
      await this.#control.set({ enabled, failure, backlogLimit, backlogWaitTime });
    }
  }
}
