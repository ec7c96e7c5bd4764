import type { Writable } from 'node:stream';
import { errnoOf, messageOf } from '../base/errors.ts';
import { visible } from '../base/text.ts';

/** 128 + SIGPIPE, as shells report it. Success would hide that the command was not finished. */
const ENDED_BY_SIGPIPE = 141;

/**
 * Live lines are omitted while more output than this waits for the reader. In characters or bytes, as the stream
 * counts.
 */
const MAX_BACKLOG = 8 * 1024 * 1024;

/**
 * An output stream of a command. When it can't be written any more, `ended` is called once, and further lines are
 * dropped.
 *
 * Replaces bidirectional and invisible characters, in case a command did not. It must pass control characters, since
 * commands move the cursor with them; commands must remove them from untrusted text.
 */
export class Output {
  readonly #open: () => Writable;
  readonly #ended: (why: string | undefined) => void;
  readonly #tellLeftOut: (lines: number) => void;
  /** Number of omitted live lines that have not been reported yet. */
  #leftOut = 0;
  #stream: Writable | undefined;
  #status: number | undefined;

  /**
   * @param open called for the first line only: accessing process.stdout makes Node set a pipe or socket to
   *   non-blocking, for all programs that share it
   * @param ended called with the reason, such as `ENOSPC`; `undefined` when the reader closed the pipe
   * @param leftOut called with the number of omitted live lines once the reader has caught up
   */
  constructor(
    open: () => Writable,
    ended: (why: string | undefined) => void,
    leftOut: (lines: number) => void = () => {},
  ) {
    this.#open = open;
    this.#ended = ended;
    this.#tellLeftOut = leftOut;
  }

  readonly line = (text: string, kind?: 'live'): void => {
    if (this.#status !== undefined) return;
    if (kind === 'live' && this.#isBehind(text)) return;
    try {
      this.#opened().write(`${visible(text)}\n`);
    } catch (error) {
      this.#end(error); // older releases of Node 20 throw for files
    }
  };

  /**
   * Resolves when everything is written, or the stream has failed. Call this before the process exits, which would
   * lose unwritten lines.
   *
   * @returns the exit status if the stream has failed: 141 if the reader closed it (`| head`), like a program killed by
   *   SIGPIPE; 1 for other errors, such as a full disk; otherwise `undefined`
   */
  async flush(): Promise<number | undefined> {
    const stream = this.#stream;
    if (stream !== undefined && this.#status === undefined) {
      await new Promise<void>((resolve) => {
        stream.write('', (error) => {
          if (error) this.#end(error);
          resolve();
        });
      });
    }
    return this.#status;
  }

  /** Whether too much output waits for the reader; counts the lines that are omitted for that reason. */
  #isBehind(text: string): boolean {
    if (this.#leftOut === 0) {
      if ((this.#stream?.writableLength ?? 0) <= MAX_BACKLOG) return false;
      void this.flush().then(() => {
        if (this.#status === undefined) this.#tellLeftOut(this.#leftOut);
        this.#leftOut = 0;
      });
    }
    this.#leftOut += text.split('\n').length;
    return true;
  }

  #opened(): Writable {
    if (this.#stream === undefined) {
      this.#stream = this.#open();
      this.#stream.on('error', (error) => this.#end(error));
    }
    return this.#stream;
  }

  #end(error: unknown): void {
    if (this.#status !== undefined) return;
    const isClosed = errnoOf(error) === 'EPIPE';
    this.#status = isClosed ? ENDED_BY_SIGPIPE : 1;
    this.#ended(isClosed ? undefined : (errnoOf(error) ?? messageOf(error)));
  }
}
