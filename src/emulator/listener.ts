import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import type { ServerCertificate } from './certificates.ts';

/** The TLS listener of the hub, on the loopback interface: it can be closed and opened again on the same port. */
export class Listener {
  readonly #server: Server;
  readonly #sockets = new Map<string, Socket>();
  #port: number;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.#port = port;
    server.on('connection', (socket: Socket) => {
      const key = addressOf(socket);
      this.#sockets.set(key, socket);
      socket.on('error', () => {}); // a peer that goes is its own affair
      socket.once('close', () => this.#sockets.delete(key));
    });
  }

  /**
   * @param port 0 for any
   * @param accept is given the TLS stream, and the TCP socket under it
   */
  static async open(
    port: number,
    { certificatePem, keyPem }: ServerCertificate,
    accept: (stream: TLSSocket, tcp: Socket) => void,
  ): Promise<Listener> {
    const server = createServer({ cert: certificatePem, key: keyPem, minVersion: 'TLSv1.2', noDelay: true });
    server.on('tlsClientError', () => {}); // a client that does not trust us says so on its own side
    const listener = new Listener(server, port);
    server.on('secureConnection', (stream) => accept(stream, listener.#sockets.get(addressOf(stream)) ?? stream));
    await listener.open();
    return listener;
  }

  get port(): number {
    return this.#port;
  }

  get isOpen(): boolean {
    return this.#server.listening;
  }

  async open(): Promise<void> {
    if (this.isOpen) return;
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening'); // rejects at 'error'
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  /** Takes no more connections, and cuts those there are, also in the middle of their handshake. */
  async shut(): Promise<void> {
    if (!this.isOpen) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets.values()) socket.destroy();
    await closed;
  }
}

const addressOf = ({ remoteAddress, remotePort }: Socket) => `${remoteAddress}:${remotePort}`;
