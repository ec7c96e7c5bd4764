import { once } from 'node:events';
import { chmodSync, chownSync, rmSync } from 'node:fs';
import type { Server, Socket } from 'node:net';
import { type ChosenPort, listen, listenOnChosenPort } from '../chosen-port.ts';

/** Where a service listens: a port on the loopback interface, or a Unix socket. */
export type Address =
  /** 0 selects a free one. */
  | { readonly port: number }
  | {
      readonly socketPath: string;
      /** Default 0o660. */
      readonly mode?: number;
      /** Group id. Default: that of the process. */
      readonly group?: number;
    };

const HOST = '127.0.0.1';

/** A listener that can be shut, with its connections, and opened on the same address again. */
export class Endpoint {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #address: Address;
  #chosen: ChosenPort | undefined;

  /** @param server not listening yet */
  private constructor(server: Server, address: Address) {
    this.#server = server;
    this.#address = address;
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => {}); // the peer disconnected; without a listener the error would terminate the process
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  static async open(server: Server, address: Address): Promise<Endpoint> {
    const endpoint = new Endpoint(server, address);
    await endpoint.open();
    return endpoint;
  }

  get isOpen(): boolean {
    return this.#server.listening;
  }

  /** 0 for a Unix socket. */
  get port(): number {
    return 'port' in this.#address ? this.#address.port : 0;
  }

  async open(): Promise<void> {
    if (this.isOpen) return;
    const address = this.#address;
    if ('port' in address) {
      if (address.port === 0) this.#chosen = await listenOnChosenPort(this.#server, HOST);
      else await listen(this.#server, address.port, HOST);
      this.#address = { port: this.#chosen?.port ?? address.port };
      return;
    }
    rmSync(address.socketPath, { force: true }); // left by a process that was killed
    this.#server.listen({ path: address.socketPath });
    await once(this.#server, 'listening'); // rejects on 'error'
    chmodSync(address.socketPath, address.mode ?? 0o660);
    if (address.group !== undefined) chownSync(address.socketPath, -1, address.group);
  }

  /** Stops listening, and closes all connections. A Unix socket's file is removed. */
  async shut(): Promise<void> {
    if (!this.isOpen) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  /** Closes it permanently and releases the port. */
  async close(): Promise<void> {
    await this.shut();
    this.#chosen?.release();
  }
}
