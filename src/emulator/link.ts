import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';

export type Transport = 'mqtt' | 'mqttWebSocket';

/** The transport of a client's MQTT connection. */
export interface Link {
  readonly transport: Transport;
  readonly tls: TLSSocket;
  /** The socket under TLS; only this can be reset. */
  readonly tcp: Socket;
}
