import { writeSync } from 'node:fs';
import { pino } from 'pino';
import { ProcFolder } from '../../src/agent/host/proc-folder.ts';
import { openNetlink } from '../../src/agent/linux/native/netlink/socket.ts';
import { ProcessConnector } from '../../src/agent/linux/processes/connector/connector.ts';
import { ExitSource } from '../../src/agent/linux/processes/exits.ts';
import { ProcessTable } from '../../src/agent/linux/processes/process-table.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { toAgentError } from '../../src/core/base/errors.ts';
import type { StreamSink } from '../../src/core/contract/streams.ts';

/* A process that reads exits of processes and prints each as a line of JSON, until SIGTERM.
 *
 *     node exit-reader.js [BYTES]
 *
 * BYTES is the size of the receive buffer, so that few exits overrun it. It reads the running processes when it starts. */

const say = (line: object) => writeSync(1, `${JSON.stringify(line)}\n`);
const [, , bytes] = process.argv;
const table = new ProcessTable({ proc: new ProcFolder('/proc'), clock: systemClock });
const sink = {
  accept: (stream: string, records: readonly object[]) => {
    for (const record of records) say({ stream, ...record });
  },
  drop: (stream: string, reason: string, count: number) => say({ stream, reason, count }),
} as StreamSink;
const exits = new ExitSource({
  table,
  sink,
  clock: systemClock,
  log: pino({ level: 'silent' }),
  hostRoot: '/',
  connect: (filter) =>
    ProcessConnector.open(filter, (protocol, options) =>
      openNetlink(protocol, bytes === undefined ? options : { ...options, receiveBufferBytes: Number(bytes) }),
    ),
});
process.on('SIGTERM', () => void exits.close().then(() => say({ ended: true })));
try {
  await table.load();
  await exits.open();
  say({ open: true, known: table.size });
} catch (error) {
  const { id, message, remedy } = toAgentError(error);
  say({ id, message, remedy });
}
