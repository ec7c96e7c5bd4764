import { subscribe } from 'node:diagnostics_channel';
import { writeSync } from 'node:fs';
import type { Socket } from 'node:net';

/*
 * Loaded into the agent's process before the agent, with --import. Reports on file descriptor 3, as JSON lines:
 *
 * - Programs that it starts. The agent looks for one of them in auditd's log to check that the log is being written, and
 *   in these tests no kernel notifies auditd.
 * - TCP connections that it attempts, including refused ones, which no server could count.
 *
 * Does not change the agent's behaviour.
 */
const report = (line: object) => writeSync(3, `${JSON.stringify(line)}\n`);

subscribe('child_process', (message) => {
  const { process: child } = message as { process: import('node:child_process').ChildProcess };
  child.on('spawn', () => report({ pid: child.pid, argv: child.spawnargs }));
});

subscribe('net.client.socket', (message) => {
  const { socket } = message as { socket: Socket };
  socket.once('connectionAttempt', (address: string, port?: number) => {
    if (port === undefined) return; // a Unix socket
    report({ address, port, at: performance.timeOrigin + performance.now() });
  });
});
