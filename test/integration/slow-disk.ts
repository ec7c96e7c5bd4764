import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const SOURCE = new URL('../../../test/integration/native/slow-disk.c', import.meta.url).pathname;

/** Slows or freezes the disk under a directory for a process that is started with `environment`. */
export class SlowDisk {
  readonly environment: NodeJS.ProcessEnv;
  readonly #folder = mkdtempSync(join(tmpdir(), 'vakt-slow-disk-'));
  readonly #control = join(this.#folder, 'control');
  readonly #report = join(this.#folder, 'report');

  /** @param directory without a symbolic link in its path */
  constructor(directory: string) {
    const library = join(this.#folder, 'slow-disk.so');
    const build = ['-O2', '-shared', '-fPIC', '-o', library, SOURCE, '-ldl'];
    const { status, stderr } = spawnSync(compiler() ?? 'cc', build, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`slow-disk.c can't be built: ${stderr}`);
    this.environment = {
      LD_PRELOAD: library,
      SLOW_DISK_DIRECTORY: directory,
      SLOW_DISK_CONTROL: this.#control,
      SLOW_DISK_REPORT: this.#report,
    };
    this.restore();
  }

  /** From now on, each sync takes `sync` milliseconds, and each other modifying call `write` milliseconds. */
  slow(sync: number, write: number): void {
    writeFileSync(`${this.#control}.new`, `${sync} ${write}`);
    renameSync(`${this.#control}.new`, this.#control);
  }

  /** From now on, modifying calls do not return. */
  freeze(): void {
    this.slow(0, -1);
  }

  restore(): void {
    this.slow(0, 0);
  }

  /** Returns the calls of the main thread since the last call of this method. */
  callsOfMainThread(): string[] {
    if (!existsSync(this.#report)) return [];
    const calls = readFileSync(this.#report, 'utf8').split('\n').slice(0, -1);
    rmSync(this.#report);
    return calls;
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

export const compiler = (): string | undefined =>
  ['cc', 'gcc', 'clang'].find((name) => spawnSync(name, ['--version']).status === 0);
