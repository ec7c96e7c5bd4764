import { once } from 'node:events';
import { writeSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';

/* A process that holds a listening socket, connections to it with COUNT sockets in total, and then another listening socket.
 *
 *   node socket-holder.js COUNT */

const count = Number(process.argv[2]);
const held: Socket[] = [];
const listen = async () => {
  const server = createServer((socket) => held.push(socket)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
};

const first = await listen();
while (held.length < count) {
  const socket = connect(first, '127.0.0.1');
  held.push(socket);
  await once(socket, 'connect');
}
writeSync(1, `${first} ${process.argv[3] === 'late' ? await listen() : 0}\n`);
process.on('SIGTERM', () => process.exit(0));
setInterval(() => {}, 1 << 30);
