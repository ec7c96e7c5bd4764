import { createHash } from 'node:crypto';
import { constants, open, stat } from 'node:fs/promises';
import type { Clock } from '../../core/base/clock.ts';
import { sourceOf } from '../../core/base/credential-copies.ts';
import { seconds } from '../../core/base/duration.ts';
import { errnoOf } from '../../core/base/errors.ts';
import type { Logger } from '../../core/base/log.ts';
import { keepGoing } from '../../core/base/loop.ts';
import { Alarm, untilBeat } from '../../core/base/waiting.ts';

/** A changed file must be used within 25 s (contract §1). */
const CHECK_EVERY = seconds(10);
/** In bytes; the most that is compared. Longer files are refused when they are used. */
const MAX_COMPARED_BYTES = 1024 * 1024;

/**
 * Polls files of keys, certificates and passwords, and announces when one is another than before. Polled, because inotify
 * does not see every change (a symbolic link to another folder, as Kubernetes renews secrets), and the files are few.
 *
 * What counts is the content, and who may read it. A file that was only touched, or copied onto itself as configuration
 * management does each half hour, must not cause a new connection, or another request to a hub that has refused it.
 */
export class FileWatch {
  readonly #files: () => readonly string[];
  readonly #changed: () => void;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #alarm = new Alarm();
  /** Keyed by path. */
  #before: ReadonlyMap<string, Look> | undefined;

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

  /** Looks at once, or again if a look is under way: that one may have passed the changed file. */
  lookNow(): void {
    this.#alarm.ring();
  }

  async #turn(signal: AbortSignal): Promise<void> {
    const before = this.#before;
    const looks = this.#files().map(async (path) => [path, await look(sourceOf(path), before?.get(path))] as const);
    const now = new Map(await Promise.all(looks));
    // A path that is new in the list has just been read by the code that added it.
    const isOther = ([path, { content }]: readonly [string, Look]) =>
      before?.has(path) === true && before.get(path)?.content !== content;
    this.#before = now;
    if (!signal.aborted && [...now].some(isOther)) this.#changed();
    await this.#alarm.sleep(this.#clock, untilBeat(this.#clock, CHECK_EVERY), signal);
  }
}

/** The observed state of a file. */
interface Look {
  /** Other whenever the file may have changed. */
  readonly stamp: string;
  /** Other if what it says, or who may read it, has changed. */
  readonly content: string;
}

async function look(path: string, before: Look | undefined): Promise<Look> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs, mode, uid, gid } = await stat(path, { bigint: true });
    const stamp = [dev, ino, size, mtimeNs, ctimeNs].join(' ');
    if (stamp === before?.stamp) return before;
    return { stamp, content: [mode, uid, gid, await digest(path)].join(' ') };
  } catch (error) {
    const why = errnoOf(error) ?? 'unreadable';
    return { stamp: why, content: why };
  }
}

/** Digest of the first bytes of a regular file; the secret itself is not kept. */
async function digest(path: string): Promise<string> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK); // a named pipe would wait for a writer
  try {
    const stats = await file.stat();
    if (!stats.isFile()) return 'no file';
    const { buffer, bytesRead } = await file.read(Buffer.alloc(Math.min(stats.size + 1, MAX_COMPARED_BYTES)), 0);
    return createHash('sha256').update(buffer.subarray(0, bytesRead)).digest('hex');
  } finally {
    await file.close();
  }
}
