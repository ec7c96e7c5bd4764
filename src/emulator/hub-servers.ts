import { createServer as createHttpsServer } from 'node:https';
import { createServer as createTlsServer } from 'node:tls';
import type { ServerCertificate } from './certificates.ts';
import type { Faults } from './faults.ts';
import { guarded } from './guarded.ts';
import type { Transport } from './link.ts';
import { Listener, tlsOptions } from './listener.ts';
import type { MqttServer } from './mqtt-server.ts';
import { RestApi, type RestHub } from './rest-api.ts';
import { createWebSocketServer } from './web-socket.ts';

/** Addresses of the hub's servers. For every port, 0 (the default) selects a free one. */
export interface ServerOptions {
  /** The address of the loopback interface to listen on. Default `127.0.0.1`. */
  readonly address?: '127.0.0.1' | '::1';
  /** The newest version of TLS that is offered. Default `TLSv1.3`; the oldest is 1.2. */
  readonly maxTlsVersion?: 'TLSv1.2' | 'TLSv1.3';
  /** Port of MQTT over TLS; 8883 at a real hub. */
  readonly port?: number;
  /** Port of the REST API only. */
  readonly restPort?: number;
  /** Port of MQTT over WebSocket and, like port 443 of a real hub, of the REST API. */
  readonly webSocketPort?: number;
}

/** One of the hub's servers. */
export type ServerName = Transport | 'rest';

/** The servers that a hub's clients connect to. They go offline and online together, or one by one. */
export class HubServers {
  readonly rest: RestApi;
  readonly #listeners: Readonly<Record<ServerName, Listener>>;

  private constructor(rest: RestApi, listeners: Readonly<Record<ServerName, Listener>>) {
    this.rest = rest;
    this.#listeners = listeners;
  }

  static async open(
    { address, maxTlsVersion, port = 0, restPort = 0, webSocketPort = 0 }: ServerOptions,
    certificate: ServerCertificate,
    { mqttServer, restHub, faults }: { mqttServer: MqttServer; restHub: RestHub; faults: Faults },
  ): Promise<HubServers> {
    const tls = tlsOptions(certificate, maxTlsVersion);
    const opened: Listener[] = [];
    const listen = async (...[endpoint, consumer, isSilent]: Parameters<typeof Listener.open>) => {
      const listener = await Listener.open({ address, ...endpoint }, consumer, isSilent);
      opened.push(listener);
      return listener;
    };
    try {
      const tlsServer = createTlsServer(tls, (stream) => {
        mqttServer.accept(stream, { transport: 'mqtt', tls: stream, tcp: mqtt.tcpOf(stream) });
      });
      const mqtt = await listen({ port }, tlsServer, () => faults.trigger('mqttSilence') !== undefined);
      const rest = new RestApi(restHub);
      const serve = guarded((request, response) => rest.serve(request, response));
      const wsServer = createWebSocketServer(tls, serve, (stream, below) => {
        mqttServer.accept(stream, { transport: 'mqttWebSocket', tls: below, tcp: mqttWebSocket.tcpOf(below) });
      });
      const isSilent = () => faults.trigger('webSocketSilence') !== undefined;
      const mqttWebSocket = await listen({ port: webSocketPort }, wsServer, isSilent);
      const restServer = createHttpsServer(tls, serve);
      return new HubServers(rest, { mqtt, mqttWebSocket, rest: await listen({ port: restPort }, restServer) });
    } catch (error) {
      for (const listener of opened) await listener.close(); // a port is in use
      throw error;
    }
  }

  port(name: ServerName): number {
    return this.#listeners[name].port;
  }

  get isOpen(): boolean {
    return Object.values(this.#listeners).every(({ isOpen }) => isOpen);
  }

  /** Listens on the same ports again. */
  async open(): Promise<void> {
    for (const listener of Object.values(this.#listeners)) await listener.open();
  }

  /** Closes one server or all, and every connection to it. */
  async shut(name?: ServerName): Promise<void> {
    for (const listener of name === undefined ? Object.values(this.#listeners) : [this.#listeners[name]])
      await listener.shut();
  }

  /** Closes all servers permanently. */
  async close(): Promise<void> {
    for (const listener of Object.values(this.#listeners)) await listener.close();
  }
}
