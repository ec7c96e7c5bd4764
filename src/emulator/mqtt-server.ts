import type { EventEmitter } from 'node:events';
import type { Duplex } from 'node:stream';
import { Aedes, type Client, type PublishPacket, type SubscribePacket, type Subscription } from 'aedes';
import type { Clock } from '../core/base/clock.ts';
import { type Duration, milliseconds } from '../core/base/duration.ts';
import { messageOf } from '../core/base/errors.ts';
import type { Admission, Credentials, Verdict } from './authenticate.ts';
import { certificatesOf } from './client-certificates.ts';
import { Connection } from './connection.ts';
import type { ConnectionRecord } from './connection-log.ts';
import type { Link } from './link.ts';

/** Whether and when a published packet is acknowledged. `reset`: the connection is reset instead. */
export type Acknowledgement = { readonly after: Duration } | 'never' | 'reset';

/** A packet that a client published. */
export interface Packet {
  readonly topic: string;
  readonly payload: Buffer;
  /** Whether it is the client's last will, published after the client disconnected. */
  readonly isWill: boolean;
  /** Whether the client set RETAIN. */
  readonly retain: boolean;
}

/** The decisions that the MQTT server leaves to the hub. */
export interface Decisions {
  /** `reset`: the connection is reset without a CONNACK. */
  admit(credentials: Credentials, over: Pick<ConnectionRecord, 'transport' | 'tlsVersion'>): Verdict | 'reset';
  opened(connection: Connection, verdict: Admission): void;
  closed(connection: Connection): void;
  maySubscribe(connection: Connection, filter: string): boolean;
  /** The client's subscriptions may have changed. */
  subscribed(connection: Connection): void;
  /** @throws an error to close the connection, with the reason as its message */
  take(connection: Connection, packet: Packet): Acknowledgement;
}

/**
 * MQTT 3.1.1 as implemented by IoT Hub. aedes handles packets, sessions and keep-alive; `Decisions` has the rules of a hub.
 * A hub is not a publish-subscribe broker: published messages are not forwarded to other clients.
 */
export class MqttServer {
  readonly #broker: Aedes;
  readonly #hub: Decisions;
  readonly #clock: Clock;
  readonly #links = new WeakMap<Client, Link>();
  /** Connections of admitted clients. */
  readonly #connections = new WeakMap<Client, Connection>();

  private constructor(broker: Aedes, hub: Decisions, clock: Clock) {
    this.#broker = broker;
    this.#hub = hub;
    this.#clock = clock;
  }

  static async open(hub: Decisions, clock: Clock): Promise<MqttServer> {
    const broker = await Aedes.createBroker();
    const server = new MqttServer(broker, hub, clock);
    broker.preConnect = (client, { protocolVersion }, done) => {
      if (protocolVersion === 4) grantAtMostQos1(client);
      else refuseVersion(client);
      done(null, protocolVersion === 4);
    };
    broker.authenticate = (client, userName, password, done) => {
      const link = server.#links.get(client);
      if (link === undefined) return;
      const { transport, tcp, tls } = link;
      const credentials = {
        clientId: client.id,
        userName,
        password: password?.toString(),
        certificates: certificatesOf(tls),
      };
      const verdict = hub.admit(credentials, { transport, tlsVersion: tls.getProtocol() ?? '' });
      if (verdict === 'reset') return void tcp.resetAndDestroy();
      const { admitted } = verdict;
      if (admitted) server.#admit(client, new Connection(verdict.module, client, link), verdict);
      done(admitted ? null : Object.assign(new Error(verdict.reason), { returnCode: verdict.returnCode }), admitted);
    };
    broker.authorizePublish = (client, packet, done) => done(client === null ? null : server.#publish(client, packet));
    broker.authorizeSubscribe = (client, subscription, done) =>
      done(server.#subscribe(client, subscription), subscription);
    broker.authorizeForward = (_client, packet) => (packet.topic.startsWith('$iothub/') ? packet : null);
    broker.on('unsubscribe', (filters, client) => {
      for (const filter of filters) server.#connections.get(client)?.filters.delete(filter);
    });
    broker.on('clientReady', (client) => {
      const connection = server.#connections.get(client);
      if (connection !== undefined) hub.subscribed(connection); // a persistent session has subscriptions already
    });
    broker.on('clientError', (client, error) => server.#closeError(client, messageOf(error)));
    return server;
  }

  /** @param stream the client's MQTT packets */
  accept(stream: Duplex, link: Link): void {
    this.#links.set(this.#broker.handle(stream), link);
  }

  close(): Promise<void> {
    return new Promise((resolve) => this.#broker.close(resolve));
  }

  #admit(client: Client, connection: Connection, verdict: Admission): void {
    if (client.closed) return;
    this.#connections.set(client, connection);
    client.conn.once('close', () => {
      connection.closed.abort();
      this.#hub.closed(connection);
    });
    this.#hub.opened(connection, verdict);
  }

  #subscribe(client: Client, { topic, qos }: Subscription): Error | null {
    const connection = this.#connections.get(client);
    if (connection === undefined || !this.#hub.maySubscribe(connection, topic))
      return this.#closeError(client, `subscribed to ${topic}, which is not a documented filter`);
    connection.filters.set(topic, qos === 0 ? 0 : 1);
    this.#hub.subscribed(connection);
    return null;
  }

  /** @returns an error if the connection must be closed, else null */
  #publish(client: Client, packet: PublishPacket): Error | null {
    const connection = this.#connections.get(client);
    const { topic, qos, messageId, retain } = packet;
    if (connection === undefined || qos === 2) return this.#closeError(client, 'published with QoS 2');
    packet.retain = false; // hubs don't retain messages
    packet.qos = 0; // so that aedes doesn't send the PUBACK
    try {
      const payload = Buffer.from(packet.payload as Buffer);
      const acknowledgement = this.#hub.take(connection, { topic, payload, isWill: client.closed, retain });
      if (acknowledgement === 'reset') connection.reset('reset by a fault');
      else if (acknowledgement !== 'never' && qos === 1 && messageId !== undefined)
        this.#acknowledge(connection, messageId, acknowledgement.after);
      return null;
    } catch (error) {
      return this.#closeError(client, messageOf(error));
    }
  }

  #acknowledge(connection: Connection, messageId: number, after: Duration): void {
    if (after === milliseconds(0)) connection.acknowledge(messageId);
    else void this.#clock.sleep(after, connection.closed.signal).then(() => connection.acknowledge(messageId));
  }

  #closeError(client: Client, reason: string): Error {
    const connection = this.#connections.get(client);
    if (connection !== undefined) connection.closedBecause ??= reason;
    return new Error(reason);
  }
}

/** A hub grants QoS 1 for 2, but aedes grants what was requested. Only its parser can be changed before it decides. */
export function grantAtMostQos1(client: Client): void {
  const { _parser } = client as unknown as { _parser: EventEmitter };
  _parser.prependListener('packet', (packet: SubscribePacket | { cmd: 'other' }) => {
    if (packet.cmd !== 'subscribe') return;
    for (const subscription of packet.subscriptions) if (subscription.qos === 2) subscription.qos = 1;
  });
}

/** CONNACK 1, unacceptable protocol version (MQTT 3.1.1, 3.2.2.3). */
export function refuseVersion({ conn }: Client): void {
  conn.end(Buffer.from([0x20, 2, 0, 1]), () => conn.destroy());
}
