import { Agent } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { bracketed } from './address.ts';
import { untilAborted } from './limited.ts';

/** Source: "Communicate with an IoT hub using the MQTT protocol". */
const PATH = '/$iothub/websocket';
const SUB_PROTOCOL = 'mqtt';
/** In bytes; a frame of the hub's has one packet of MQTT, of at most 1 MiB (hub/packet-guard.ts). */
const LARGEST_FRAME = 2 * 1024 * 1024;

/**
 * Opens MQTT over WebSocket (RFC 6455; MQTT 3.1.1, 6) on a connection to the hub. Destroys the connection when that fails,
 * or when `signal` aborts.
 *
 * @returns the stream of MQTT's bytes; to destroy it closes the connection
 */
export async function openWebSocket(socket: TLSSocket, host: string, signal: AbortSignal): Promise<Duplex> {
  try {
    const { default: WebSocket } = await import('ws');
    return await untilAborted<Duplex>(signal, (resolve, reject) => {
      // The scheme is ws because TLS is below; the URL's host is replaced by the header, which has the port else.
      const webSocket = new WebSocket(`ws://${bracketed(host)}${PATH}`, SUB_PROTOCOL, {
        agent: new OneSocket(socket),
        headers: { host: bracketed(host) },
        perMessageDeflate: false,
        maxPayload: LARGEST_FRAME,
      });
      webSocket.on('error', reject); // stays: the stream listens to one error only
      webSocket.once('open', () => resolve(WebSocket.createWebSocketStream(webSocket)));
    });
  } catch (error) {
    socket.on('error', () => {}).destroy();
    throw error;
  }
}

/** ws takes no connection, but asks an agent for one. */
class OneSocket extends Agent {
  readonly #socket: Socket;

  constructor(socket: Socket) {
    super();
    this.#socket = socket;
  }

  override createConnection(): Socket {
    return this.#socket;
  }
}
