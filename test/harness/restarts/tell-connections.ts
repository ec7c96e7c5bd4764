import { subscribe } from 'node:diagnostics_channel';
import { writeSync } from 'node:fs';
import type { Socket } from 'node:net';

/*
 * Loaded into the agent's process before the agent, with --import: reports each TCP connection that is attempted on file
 * descriptor 3, including refused ones, which no server could count. Does not change the agent's behaviour.
 */
subscribe('net.client.socket', (message) => {
  const { socket } = message as { socket: Socket };
  socket.once('connectionAttempt', (address: string, port?: number) => {
    if (port === undefined) return; // a Unix socket
    writeSync(3, `${JSON.stringify({ address, port, at: performance.timeOrigin + performance.now() })}\n`);
  });
});
