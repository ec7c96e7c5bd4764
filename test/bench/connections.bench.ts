import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { pino } from 'pino';
import type { AuditEvent } from '../../src/agent/linux/audit/event.ts';
import { NETLINK_SOCK_DIAG, openNetlink } from '../../src/agent/linux/native/netlink/socket.ts';
import { Connections } from '../../src/agent/linux/sockets/connections/connections.ts';
import { inodeAt } from '../../src/agent/linux/sockets/connections/proc-sockets.ts';
import { findConnected } from '../../src/agent/linux/sockets/sock-diag.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { milliseconds } from '../../src/core/base/duration.ts';
import type { SocketAddress, StreamSink, Streams } from '../../src/core/contract/streams.ts';
import { median, Peer, range, report, scriptOf } from './figures.ts';

/*
 * Cost of turning audit events into connections; the events are generated here, and processes.bench.ts measures reading them.
 * Also the cost of querying the kernel for sockets as their number grows; the peer lists all of them.
 */

const CONNECTIONS = 20_000;
/** Events of one drain of audit's socket, at 1,000 per second. */
const PER_DRAIN = 200;
const PAUSE = milliseconds(50);
const RUNS = 15;

class Count implements StreamSink {
  reported = 0;
  withLocal = 0;

  accept<K extends keyof Streams>(_stream: K, records: readonly Streams[K][]): void {
    this.reported += records.length;
    for (const record of records as readonly Streams['connections'][])
      this.withLocal += Number(record.local !== undefined);
  }
  drop(): void {}
}

const cpuMs = (since?: NodeJS.CpuUsage) => {
  const { user, system } = process.cpuUsage(since);
  return (user + system) / 1_000;
};

/** Two events per connection: one for an open connection, and one for a connection that no longer exists. */
function eventsOf(pid: number, fds: readonly number[], address: SocketAddress): AuditEvent[] {
  const who = { pid: String(pid), ppid: String(process.ppid), euid: '0', exe: process.execPath };
  const event = (syscall: string, fields: object, rest: object = {}): AuditEvent => ({
    time: systemClock.now(),
    serial: 0,
    syscall,
    success: true,
    fields: { ...who, ...fields },
    ...rest,
  });
  return fds.flatMap((fd) => [
    event('socket', { a0: '2', a1: '80801', a2: '0', exit: String(fd + 100_000) }),
    event('connect', { a0: fd.toString(16), exit: '0' }, { address }),
  ]);
}

async function stage(pid: number, fds: readonly number[], address: SocketAddress): Promise<string[]> {
  const sink = new Count();
  const connections = new Connections({
    sink,
    clock: systemClock,
    log: pino({ level: 'silent' }),
    loopback: true,
    own: () => false,
    commandLineOf: () => 'x',
    commandLines: { read: async () => [] },
  });
  let cost = 0;
  for (let count = 0; count < CONNECTIONS; count += fds.length) {
    const events = eventsOf(pid, fds, address);
    const from = process.cpuUsage();
    connections.accept(events);
    connections.settle();
    cost += cpuMs(from);
    await systemClock.sleep(PAUSE);
  }
  connections.close();
  return [
    ((cost / CONNECTIONS) * 1_000).toFixed(1),
    String(sink.reported),
    `${((sink.withLocal / CONNECTIONS) * 100).toFixed(0)} %`,
  ];
}

async function measureStage(): Promise<void> {
  const server = createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const sockets = [];
  for (let count = 0; count < PER_DRAIN; count += 1) {
    const socket = connect(port, '127.0.0.1');
    sockets.push(socket);
    await once(socket, 'connect');
  }
  const fds = clientsOf(port);
  const peer = { address: '127.0.0.1', port };
  const NOBODY = 4_194_303;
  report(
    `CPU ms per 1000 connections in the stage that completes them, of ${CONNECTIONS}`,
    [
      ['sockets', 'CPU ms', 'told', 'with a local end'],
      ['open', ...(await stage(process.pid, fds, peer))],
      ['closed, process exited', ...(await stage(NOBODY, fds, peer))],
    ],
    [`${fds.length} at a time, ${1_000 / PAUSE} times a second.`],
  );
  for (const socket of sockets) socket.destroy();
  server.close();
}

/** Descriptors of this process's connections to a port. */
function clientsOf(port: number): number[] {
  const fds = new Map(
    readdirSync('/proc/self/fd').map((fd) => [inodeAt('/proc', process.pid, Number(fd)) ?? 0, Number(fd)]),
  );
  const netlink = openNetlink(NETLINK_SOCK_DIAG);
  const found = findConnected(netlink, 'TCP', { inodes: new Set(fds.keys()) });
  netlink.close();
  return found.filter(({ remote }) => remote.port === port).map(({ inode }) => fds.get(inode) ?? -1);
}

async function measureLists(): Promise<void> {
  const netlink = openNetlink(NETLINK_SOCK_DIAG);
  const wallMs = (work: () => unknown) => {
    const costs = Array.from({ length: RUNS }, () => {
      const from = performance.now();
      work();
      return performance.now() - from;
    });
    return `${median(costs).toFixed(2)} (${range(costs, 2)})`;
  };
  const hasPeer = spawnSync('ss', ['-V']).status === 0;
  const rows = [['sockets', 'two ports', '64 ports', 'all', 'ss -tan']];
  for (const count of [100, 1_000, 10_000]) {
    const holder = await Peer.start(process.execPath, [scriptOf('socket-holder'), String(count), 'first']);
    try {
      const ask = (ports: number | undefined) => () =>
        findConnected(netlink, 'TCP', {
          inodes: new Set([1]),
          ...(ports === undefined
            ? {}
            : {
                ports: {
                  remote: new Set(Array.from({ length: ports }, (_, port) => port + 1)),
                  local: new Set<number>(),
                },
              }),
        });
      rows.push([
        String(count),
        wallMs(ask(2)),
        wallMs(ask(64)),
        wallMs(ask(undefined)),
        hasPeer ? wallMs(() => spawnSync('ss', ['-tan'])) : 'not here',
      ]);
    } finally {
      await holder.end();
    }
  }
  netlink.close();
  report(`ms to find TCP sockets by the ports of their peers, median (range) of ${RUNS}`, rows);
}

await measureStage();
await measureLists();
