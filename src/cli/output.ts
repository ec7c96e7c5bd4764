import type { Writable } from 'node:stream';
import { errnoOf } from '../base/errors.ts';
import { visible } from '../base/printable.ts';

/**
 * An output stream of a command. When it can't be written any more, `ended` is called once, and further lines are
 * dropped.
 *
 * Replaces bidirectional and invisible characters, in case a command did not. It must pass control characters, since
 * commands move the cursor with them; commands must remove them from untrusted text.
 */
export class Output {
  readonly #open: () => Writable;
  readonly #ended: () => void;
  #stream: Writable | undefined;
  #status: number | undefined;

  /**
   * @param open called for the first line only: accessing process.stdout makes Node set a pipe or socket to
   *   non-blocking, for all programs that share it
   */
  constructor(open: () => Writable, ended: () => void) {
    this.#open = open;
    this.#ended = ended;
  }

  readonly line = (text: string): void => {
    if (this.#status !== undefined) return;
    try {
      this.#opened().write(`${visible(text)}
`);
    } catch (error) {
      this.#end(error); // older releases of Node 20 throw for files
    }
  };

  /**
   * Resolves when everything is written, or the stream has failed. To be called before the process exits, which would
   * lose unwritten lines.
   *
   * @returns the exit status if the stream has failed: 0 when the reader closed it (`| head`), 1 for other errors, such
   *   as a full disk; otherwise `undefined`
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

  #opened(): Writable {
    if (this.#stream === undefined) {
      this.#stream = this.#open();
      this.#stream.on('error', (error) => this.#end(error));
    }
    return this.#stream;
  }

  #end(error: unknown): void {
    if (this.#status !== undefined) return;
    this.#status = errnoOf(error) === 'EPIPE' ? 0 : 1;
    this.#ended();
  }
}
