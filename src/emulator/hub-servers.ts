import { createServer, type TLSSocket } from 'node:tls';
import type { ServerCertificate } from './certificates.ts';
import { Listener, tlsOptions } from './listener.ts';
import type { MqttServer } from './mqtt-server.ts';
import { RestApi, type RestHub } from './rest-api.ts';

/** Where the hub's servers listen. Ports: 0, the default, selects a free one. */
export interface ServerOptions {
  /** The address of the loopback interface to listen on. Default `127.0.0.1`. */
  readonly address?: '127.0.0.1' | '::1';
  /** Port of MQTT over TLS; 8883 at a real hub. */
  readonly port?: number;
  /** Port of the REST API for modules over HTTPS; 443 at a real hub. */
  readonly restPort?: number;
}

/** The servers that a hub's clients connect to. They go offline and online together. */
export class HubServers {
  readonly mqtt: Listener;
  readonly rest: RestApi;

  private constructor(mqtt: Listener, rest: RestApi) {
    this.mqtt = mqtt;
    this.rest = rest;
  }

  static async open(
    { address, port = 0, restPort = 0 }: ServerOptions,
    certificate: ServerCertificate,
    { mqttServer, restHub }: { mqttServer: MqttServer; restHub: RestHub },
  ): Promise<HubServers> {
    const server = createServer({ ...tlsOptions(certificate), noDelay: true });
    const opened: Listener[] = [];
    try {
      const mqtt = await Listener.open({ port, address }, server);
      opened.push(mqtt);
      server.on('secureConnection', (tls: TLSSocket) => {
        mqttServer.accept(tls, { transport: 'mqtt', tls, tcp: mqtt.tcpOf(tls) });
      });
      return new HubServers(mqtt, await RestApi.open({ port: restPort, address }, certificate, restHub));
    } catch (error) {
      for (const listener of opened) await listener.shut(); // a port is in use
      throw error;
    }
  }

  get isOpen(): boolean {
    return this.#listeners.every(({ isOpen }) => isOpen);
  }

  /** Listens on the same ports again. */
  async open(): Promise<void> {
    for (const listener of this.#listeners) await listener.open();
  }

  /** Closes the listeners and every connection. */
  async shut(): Promise<void> {
    for (const listener of this.#listeners) await listener.shut();
  }

  get #listeners(): readonly Listener[] {
    return [this.mqtt, this.rest.listener];
  }
}
