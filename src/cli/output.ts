import type { Writable } from 'node:stream';
import { errnoOf } from '../base/errors.ts';
import { visible } from '../base/printable.ts';

/**
 * Where a command's lines go, as long as somebody takes them. When that ends, the command is told once, and the rest is
 * dropped.
 *
 * Whatever a command forgot to make printable shows its bidirectional and invisible characters here. Commands move the
 * cursor, so that control characters must be dealt with by them.
 */
export class Output {
  readonly #open: () => Writable;
  readonly #ended: () => void;
  #stream: Writable | undefined;
  #status: number | undefined;

  /**
   * @param open called with the first line: Node makes a pipe or socket non-blocking when it is asked for
   *   process.stdout, for all programs that share it
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
      this.#end(error); // so do files in older releases of Node 20
    }
  };

  /**
   * Resolves once everything is written, or can't be: what a process has not written to a pipe when it exits is lost.
   *
   * @returns the exit status when the output has ended before its time: 0 when the reader has gone (`| head`), 1 when
   *   lines were lost (a full disk); otherwise `undefined`
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
