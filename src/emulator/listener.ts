import { constants } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import type { TlsOptions } from 'node:tls';
import type { ServerCertificate } from './certificates.ts';
import { type ChosenPort, listen, listenOnChosenPort } from './chosen-port.ts';

/** Where to listen. */
export interface Endpoint {
  /** 0 selects a free one. */
  readonly port: number;
  /** Default `127.0.0.1`. */
  readonly address?: string | undefined;
}

/**
 * Options of the hub's TLS servers. Client certificates are requested, and validated by the hub, which gives the reason for a
 * refusal. Sessions are not resumed: a resumed one has no certificate chain.
 */
export const tlsOptions = (
  { certificatePem, keyPem }: Omit<ServerCertificate, 'caPem'>,
  maxVersion: 'TLSv1.2' | 'TLSv1.3' = 'TLSv1.3',
): TlsOptions => ({
  cert: certificatePem,
  key: keyPem,
  minVersion: 'TLSv1.2',
  maxVersion,
  requestCert: true,
  rejectUnauthorized: false,
  secureOptions: constants.SSL_OP_NO_TICKET,
});

/** The server that gets a listener's connections: TCP, TLS, HTTP or HTTPS. It does not listen itself. */
export type Consumer = Pick<Server, 'emit' | 'on'>;

/** Listens for TCP on the loopback interface. It can be shut, and opened on the same port again. */
export class Listener {
  readonly #server: Server;
  readonly #sockets = new Map<string, Socket>();
  readonly #address: string;
  #port: number;
  #chosen: ChosenPort | undefined;

  private constructor({ port, address = '127.0.0.1' }: Endpoint, consumer: Consumer, isSilent: () => boolean) {
    this.#address = address;
    this.#port = port;
    this.#server = createServer({ noDelay: true }, (socket) => {
      const key = addressOf(socket);
      this.#sockets.set(key, socket);
      socket.on('error', () => {}); // the peer disconnected; without a listener the error would terminate the process
      socket.once('close', () => this.#sockets.delete(key));
      // Data is not read either, as if a firewall dropped packets after the TCP handshake.
      if (!isSilent()) consumer.emit('connection', socket);
    });
    consumer.on('tlsClientError', () => {}); // a client that does not trust the certificate reports that itself
  }

  /** @param isSilent called for each connection: whether to accept it and never answer */
  static async open(endpoint: Endpoint, consumer: Consumer, isSilent = () => false): Promise<Listener> {
    const listener = new Listener(endpoint, consumer, isSilent);
    await listener.open();
    return listener;
  }

  get port(): number {
    return this.#port;
  }

  get isOpen(): boolean {
    return this.#server.listening;
  }

  /** The TCP socket under a TLS stream of this server; only this can be reset. */
  tcpOf(stream: Socket): Socket {
    return this.#sockets.get(addressOf(stream)) ?? stream;
  }

  async open(): Promise<void> {
    if (this.isOpen) return;
    if (this.#port === 0) this.#chosen = await listenOnChosenPort(this.#server, this.#address);
    else await listen(this.#server, this.#port, this.#address);
    this.#port = this.#chosen?.port ?? this.#port;
  }

  /** Stops listening, and closes all connections, including those in a TLS handshake. May be opened again. */
  async shut(): Promise<void> {
    if (!this.isOpen) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets.values()) socket.destroy();
    await closed;
  }

  /** Closes it permanently and releases the port. */
  async close(): Promise<void> {
    await this.shut();
    this.#chosen?.release();
  }
}

const addressOf = ({ remoteAddress, remotePort }: Socket) => `${remoteAddress}:${remotePort}`;
