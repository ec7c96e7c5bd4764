import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../src/core/base/clock.ts';
import { milliseconds, seconds } from '../../src/core/base/duration.ts';
import { errnoOf } from '../../src/core/base/errors.ts';

/** A small file system in its own folder, which other processes also use. Needs root. */
export class SmallDisk {
  readonly folder: string;
  readonly #others: string;
  #stopFilling: (() => Promise<void>) | undefined;

  /** @param size in bytes */
  constructor(folder: string, size: number) {
    this.folder = folder;
    this.#others = join(folder, 'others');
    mkdirSync(folder);
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=0700`, 'tmpfs', folder], { stdio: 'pipe' });
  }

  /** Other processes fill all free space, now and later, until `free`. */
  fill(): void {
    const stop = new AbortController();
    const filling = (async () => {
      while (!stop.signal.aborted) {
        for (const bytes of [65_536, 4_096]) while (this.#append(bytes));
        await systemClock.sleep(milliseconds(20), stop.signal);
      }
    })();
    this.#stopFilling = async () => {
      stop.abort();
      await filling;
    };
  }

  /** Stops the other processes, and removes their files. */
  async free(): Promise<void> {
    await this.#stopFilling?.();
    rmSync(this.#others);
  }

  /** Remounts it as an administrator does. The kernel refuses this while a file is open for writing. */
  async remount(mode: 'ro' | 'rw'): Promise<void> {
    const deadline = systemClock.monotonic() + seconds(20);
    for (;;) {
      try {
        execFileSync('mount', ['-o', `remount,${mode}`, this.folder], { stdio: 'pipe' });
        return;
      } catch (error) {
        if (systemClock.monotonic() > deadline) throw error;
        await systemClock.sleep(milliseconds(10));
      }
    }
  }

  unmount(): void {
    execFileSync('umount', ['--lazy', this.folder], { stdio: 'pipe' });
  }

  #append(bytes: number): boolean {
    try {
      appendFileSync(this.#others, Buffer.alloc(bytes));
      return true;
    } catch (error) {
      if (errnoOf(error) === 'ENOSPC') return false;
      throw error;
    }
  }
}
