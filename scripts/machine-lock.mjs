import { connect, createServer } from 'node:net';

/**
 * Takes a lock that one process of this machine's network namespace can hold, and waits as long as another one holds it. It
 * is an abstract Unix socket (unix(7)), so the kernel releases it however its holder ends.
 *
 * @param name of the lock
 * @param waiting called once if another process holds it
 * @returns releases the lock
 */
export async function takeLock(name, waiting = () => {}) {
  const path = `\0vakt ${name}`;
  for (let isFirst = true; ; isFirst = false) {
    const server = createServer();
    const connections = new Set();
    server.on('connection', (socket) => {
      connections.add(socket);
      socket.on('close', () => connections.delete(socket)).on('error', () => {});
    });
    const error = await new Promise((resolve) => {
      server.once('error', resolve).listen(path, () => resolve(undefined));
    });
    if (error === undefined) {
      server.unref();
      return () => {
        server.close();
        for (const socket of connections) socket.destroy();
      };
    }
    if (error.code !== 'EADDRINUSE') throw error;
    if (isFirst) waiting();
    // The holder accepts and says nothing: its end closes the connection.
    await new Promise((resolve) => {
      connect(path).on('error', resolve).on('close', resolve).resume();
    });
  }
}
