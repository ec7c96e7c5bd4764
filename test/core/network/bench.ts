import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { type Clock, systemClock, TimeLimitError } from '../../../src/core/base/clock.ts';
import { type Duration, milliseconds, seconds } from '../../../src/core/base/duration.ts';
import { nextTurn } from '../../../src/core/base/waiting.ts';
import { until } from '../../harness/until.ts';

/** A signal that never aborts. */
export const never = new AbortController().signal;

/** Time in the test's hand. */
export class HandClock implements Clock {
  #now = 0;
  readonly #timers = new Set<{ readonly at: number; readonly fire: () => void }>();

  /** Timers that have neither fired nor been cancelled. */
  get timers(): number {
    return this.#timers.size;
  }

  now = () => new Date(this.#now);
  monotonic = () => milliseconds(this.#now);
  fromKernel = () => this.now();

  sleep(wait: Duration, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#start(wait, resolve);
      const abort = () => {
        cancel();
        resolve();
      };
      signal?.addEventListener('abort', abort, { once: true });
    });
  }

  within<T>(limit: Duration, what: string, work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const cancel = this.#start(limit, () => reject(new TimeLimitError(what, limit)));
      work.then(resolve, reject).finally(cancel);
    });
  }

  async advance(by: Duration): Promise<void> {
    this.#now += by;
    for (const timer of this.#timers) {
      if (timer.at > this.#now) continue;
      this.#timers.delete(timer);
      timer.fire();
    }
    await nextTurn(); // tasks that woke up run as far as they can
  }

  #start(wait: Duration, fire: () => void): () => void {
    const timer = { at: this.#now + wait, fire };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }
}

/** Servers and sockets of one test, which closes them at its end. */
export class Sockets {
  readonly #closing: (() => void)[] = [];

  /** @param serve gets each connection; its errors are ignored */
  async listen(serve: (socket: Socket) => void = () => {}, where: object = { host: '127.0.0.1', port: 0 }) {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      this.#closing.push(() => socket.destroy());
      serve(socket);
    });
    server.listen(where);
    await once(server, 'listening');
    this.#closing.push(() => server.close());
    return (server.address() as { port?: number }).port ?? 0;
  }

  /** A port that is silent until it is woken: its process is stopped, and no further connection fits into its queue. */
  async silent(where: { readonly host: string; readonly port: number }) {
    const options = JSON.stringify({ ...where, backlog: 1 });
    const program = `require('net').createServer().listen(${options}, function () { console.log(this.address().port) })`;
    const child = spawn(process.execPath, ['-e', program]);
    this.after(() => child.kill('SIGKILL'));
    const port = Number(String((await once(child.stdout, 'data'))[0]));
    child.kill('SIGSTOP');
    const isFull = async () => {
      const probe = this.keep(connect(port, where.host));
      const connected = once(probe, 'connect').then(() => true);
      return !(await Promise.race([connected, systemClock.sleep(seconds(0.3)).then(() => false)]));
    };
    await until('a full queue', isFull);
    return { port, wake: () => child.kill('SIGCONT') };
  }

  keep<T extends { destroy(): unknown; on(event: 'error', listener: () => void): unknown }>(stream: T): T {
    stream.on('error', () => {});
    this.#closing.push(() => stream.destroy());
    return stream;
  }

  after(close: () => void): void {
    this.#closing.push(close);
  }

  close(): void {
    for (const close of this.#closing.splice(0).reverse()) close();
  }
}
