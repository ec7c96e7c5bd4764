import type { Client } from 'aedes';
import type { ModuleId } from './identity.ts';
import type { Link, Transport } from './link.ts';

/** A module's live connection. */
export class Connection {
  /** The subscribed filters, with the granted QoS. */
  readonly filters = new Map<string, 0 | 1>();
  /** Aborted when the connection has closed. */
  readonly closed = new AbortController();
  /** The reason if the hub closed the connection; `undefined` if it is open or the client closed it. */
  closedBecause: string | undefined;
  readonly module: ModuleId;
  readonly #client: Client;
  readonly #link: Link;

  constructor(module: ModuleId, client: Client, link: Link) {
    this.module = module;
    this.#client = client;
    this.#link = link;
  }

  get transport(): Transport {
    return this.#link.transport;
  }

  /** Whether the client has received its CONNACK, before which nothing may be sent, and has subscribed to `filter`. */
  isSubscribedTo(filter: string): boolean {
    return this.#client.connected && this.filters.has(filter);
  }

  /** Publishes to the client with the granted QoS, if it has subscribed to `filter`. */
  send(filter: string, topic: string, payload: string): void {
    const qos = this.filters.get(filter);
    if (qos === undefined || !this.isSubscribedTo(filter)) return;
    this.#client.publish({ cmd: 'publish', topic, payload, qos, dup: false, retain: false }, () => {});
  }

  /** Sends a PUBACK (MQTT 3.1.1, 3.4); aedes can't delay one. */
  acknowledge(messageId: number): void {
    if (!this.closed.signal.aborted) this.#client.conn.write(Buffer.from([0x40, 2, messageId >> 8, messageId & 0xff]));
  }

  close(reason: string): void {
    this.closedBecause ??= reason;
    this.#client.close();
  }

  /** Closes the connection with a TCP RST, as a broken network does. */
  reset(reason: string): void {
    this.closedBecause ??= reason;
    this.#link.tcp.resetAndDestroy();
  }
}
