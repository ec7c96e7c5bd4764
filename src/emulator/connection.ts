import type { Socket } from 'node:net';
import type { Client } from 'aedes';
import type { ModuleId } from './identity.ts';

/** A module's live connection. */
export class Connection {
  /** What it has subscribed to, with the granted QoS. */
  readonly filters = new Map<string, 0 | 1>();
  /** Aborts when the connection is over. */
  readonly closed = new AbortController();
  /** Why the hub closed it; `undefined` while it has not, also when the client itself went. */
  closedBecause: string | undefined;
  readonly module: ModuleId;
  readonly #client: Client;
  readonly #socket: Socket;

  /** @param socket the TCP socket under the client's TLS, which alone can be reset */
  constructor(module: ModuleId, client: Client, socket: Socket) {
    this.module = module;
    this.#client = client;
    this.#socket = socket;
  }

  /** It has its CONNACK, without which nothing may be sent, and has subscribed to `filter`. */
  listensTo(filter: string): boolean {
    return this.#client.connected && this.filters.has(filter);
  }

  /** Publishes to the client if it listens to `filter`, with the QoS it was granted. */
  send(filter: string, topic: string, payload: string): void {
    const qos = this.filters.get(filter);
    if (qos === undefined || !this.listensTo(filter)) return;
    this.#client.publish({ cmd: 'publish', topic, payload, qos, dup: false, retain: false }, () => {});
  }

  /** PUBACK (MQTT 3.1.1, 3.4), written here since aedes would send it at once or never. */
  acknowledge(messageId: number): void {
    if (!this.closed.signal.aborted) this.#client.conn.write(Buffer.from([0x40, 2, messageId >> 8, messageId & 0xff]));
  }

  close(because: string): void {
    this.closedBecause ??= because;
    this.#client.close();
  }

  /** Ends it with a TCP RST, as a broken network does. */
  reset(because: string): void {
    this.closedBecause ??= because;
    this.#socket.resetAndDestroy();
  }
}
