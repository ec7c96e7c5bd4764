import { closeSync, readSync } from 'node:fs';
import { systemCalls } from '../../../../src/agent/linux/native/system-calls.ts';
import { errnoOf } from '../../../../src/core/base/errors.ts';

/** A real datagram socket that replaces a service manager's. It never blocks. */
export class NotifyReceiver {
  readonly #fd: number;

  /** @param address a path, or `@` and a name for an abstract one */
  constructor(address: string) {
    const system = systemCalls();
    this.#fd = system.socket(1, 2 | 0o4000 | 0o2000000, 0);
    const name = Buffer.from(address.startsWith('@') ? `\0${address.slice(1)}` : `${address}\0`);
    const family = new Uint8Array(Uint16Array.of(1).buffer);
    const encoded = Buffer.concat([family, name]);
    if (system.bind(this.#fd, encoded, encoded.length) !== 0) throw new Error(`bind() failed: ${system.errno()}`);
  }

  /** The messages that wait, oldest first. */
  messages(): string[] {
    const buffer = Buffer.alloc(4096);
    const messages: string[] = [];
    for (;;) {
      try {
        messages.push(buffer.toString('utf8', 0, readSync(this.#fd, buffer)));
      } catch (error) {
        if (errnoOf(error) === 'EAGAIN') return messages;
        throw error;
      }
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}
