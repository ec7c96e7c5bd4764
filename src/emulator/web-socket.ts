import { type Server as HttpServer, type IncomingMessage, type RequestListener, STATUS_CODES } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { Duplex } from 'node:stream';
import type { TLSSocket, TlsOptions } from 'node:tls';
import ws from 'ws';

/** Source: "Communicate with an IoT hub using the MQTT protocol". */
const PATH = '/$iothub/websocket';
const SUB_PROTOCOL = 'mqtt';

/**
 * A server of MQTT over WebSocket. It does not listen itself.
 *
 * @param serve called with ordinary requests: a hub has its REST API on the same port, 443
 * @param accept called with the MQTT stream and the TLS stream below
 */
export function createWebSocketServer(
  options: TlsOptions,
  serve: RequestListener,
  accept: (stream: Duplex, tls: TLSSocket) => void,
): Server {
  const server = createServer(options, serve);
  acceptWebSockets(server, accept);
  return server;
}

/**
 * Makes an HTTPS server accept MQTT over WebSocket, too.
 *
 * @param accept called with the MQTT stream and the TLS stream below
 */
export function acceptWebSockets(server: HttpServer | Server, accept: (stream: Duplex, tls: TLSSocket) => void): void {
  const webSockets = new ws.Server({ noServer: true, perMessageDeflate: false });
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const [path] = (request.url ?? '').split('?'); // SDKs append ?iothub-no-client-cert=true
    const subProtocols = request.headers['sec-websocket-protocol']?.split(/\s*,\s*/) ?? [];
    if (path !== PATH) return refuse(socket, 404);
    if (!subProtocols.includes(SUB_PROTOCOL)) return refuse(socket, 400);
    webSockets.handleUpgrade(request, request.socket, head, (webSocket) => {
      accept(ws.createWebSocketStream(webSocket), socket as TLSSocket);
    });
  });
}

function refuse(socket: Duplex, status: number): void {
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}
