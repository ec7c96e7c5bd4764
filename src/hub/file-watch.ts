import { stat } from 'node:fs/promises';
import { untilBeat } from '../base/beat.ts';
import type { Clock } from '../base/clock.ts';
import { seconds } from '../base/duration.ts';
import { errnoOf } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { keepGoing } from '../base/loop.ts';

/** A changed file must be used within 25 s (contract §1). */
const CHECK_EVERY = seconds(10);

/**
 * Polls files of keys and certificates, and announces when one is another than before. Polled, because inotify does not
 * see every change (a symbolic link to another folder, as Kubernetes renews secrets), and the files are few.
 */
export class FileWatch {
  readonly #files: () => readonly string[];
  readonly #changed: () => void;
  readonly #clock: Clock;
  readonly #log: Logger;
  #before: string | undefined;

  /** @param options.files paths; may change */
  constructor(options: { files: () => readonly string[]; changed: () => void; clock: Clock; log: Logger }) {
    this.#files = options.files;
    this.#changed = options.changed;
    this.#clock = options.clock;
    this.#log = options.log;
  }

  /** Resolves when `signal` aborts. */
  run(signal: AbortSignal): Promise<void> {
    return keepGoing(() => this.#turn(signal), { signal, clock: this.#clock, log: this.#log });
  }

  async #turn(signal: AbortSignal): Promise<void> {
    const now = (await Promise.all(this.#files().map(fingerprint))).join('\n');
    if (this.#before !== undefined && now !== this.#before) this.#changed();
    this.#before = now;
    await this.#clock.sleep(untilBeat(this.#clock, CHECK_EVERY), signal);
  }
}

async function fingerprint(path: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeMs, ctimeMs } = await stat(path);
    return [dev, ino, size, mtimeMs, ctimeMs].join(' ');
  } catch (error) {
    return errnoOf(error) ?? 'unreadable';
  }
}
