import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { AuditSource } from '../../src/agent/linux/audit/audit-source.ts';
import type { AuditEvent, AuditSink } from '../../src/agent/linux/audit/event.ts';
import { Connections } from '../../src/agent/linux/sockets/connections/connections.ts';
import { CONNECTION_RULES } from '../../src/agent/linux/sockets/connections/socket-calls.ts';
import { ListeningSockets } from '../../src/agent/linux/sockets/listening-sockets.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { seconds } from '../../src/core/base/duration.ts';
import type { ConnectionSeen, LossReason, StreamSink, Streams } from '../../src/core/contract/streams.ts';
import { readHere } from '../agent/linux/processes/memory/read-here.ts';
import { suiteFolder } from '../harness/folders.ts';
import { require } from '../harness/require.ts';
import { until } from '../harness/until.ts';
import { Connector, type MadeEnd } from './connector.ts';
import { type Call32, elf32 } from './elf32.ts';
import { missingForAudit } from './missing-for-audit.ts';

/** Records the connections, and counts the losses. */
class Recorder implements StreamSink {
  readonly seen: ConnectionSeen[] = [];
  readonly lost = { kernel: 0, unresolved: 0 };
  connections: Connections | undefined;
  readonly #programs: readonly string[];

  /** @param programs paths of the programs whose connections are recorded: other programs open some, too */
  constructor(programs: readonly string[]) {
    this.#programs = programs;
  }

  accept<K extends keyof Streams>(stream: K, records: readonly Streams[K][]): void {
    if (stream === 'connections') this.seen.push(...(records as readonly ConnectionSeen[]));
  }

  drop(_stream: unknown, reason: LossReason, count: number): void {
    if (reason === 'unresolved') this.lost.unresolved += count;
  }

  readonly audit: AuditSink = {
    accept: (events) => {
      const isOfProgram = ({ fields }: AuditEvent) => this.#programs.some((path) => fields.exe?.startsWith(path));
      this.connections?.accept(events.filter(isOfProgram));
    },
    lost: (count) => {
      this.lost.kernel += count;
    },
  };

  of(pid: number): ConnectionSeen[] {
    return this.seen.filter((connection) => connection.pid === pid);
  }
}

/** The fields that every connection must have. */
const summary = (end: MadeEnd | ConnectionSeen) =>
  'kind' in end
    ? `${end.direction} ${end.protocol} ${end.address} ${end.remotePort}`
    : `${end.direction} ${end.protocol} ${end.remote.address} ${end.remote.port}`;

const tally = (ends: readonly (MadeEnd | ConnectionSeen)[]) => {
  const counts: Record<string, number> = {};
  for (const end of ends) counts[summary(end)] = (counts[summary(end)] ?? 0) + 1;
  return counts;
};

const ipv6 = networkInterfaces().lo?.some(({ address }) => address === '::1') === true;
const withIpv6 = (kinds: readonly string[]) => kinds.filter((kind) => ipv6 || kind.includes('v4'));

describe('Connections', function () {
  this.timeout(180_000);
  let connector: Connector;
  let folder: string;
  let recorder: Recorder;
  let source: AuditSource | undefined;
  let child: ChildProcess | undefined;
  const cleanUp: (() => void)[] = [];

  before(async function () {
    require(this, await missingForAudit());
    folder = suiteFolder();
    connector = new Connector();
  });

  const open = async ({ loopback = true } = {}) => {
    recorder = new Recorder([folder, connector.path ?? folder]);
    const connections = new Connections({
      sink: recorder,
      clock: systemClock,
      log: pino({ level: 'silent' }),
      loopback,
      own: () => false,
      commandLineOf: () => undefined,
      commandLines: readHere('/proc'),
    });
    recorder.connections = connections;
    source = new AuditSource({
      rules: () => CONNECTION_RULES,
      sink: recorder.audit,
      clock: systemClock,
      log: pino({ level: 'silent' }),
      drained: () => connections.settle(),
    });
    cleanUp.push(() => connections.close());
    await source.open();
  };

  const close = async () => {
    await source?.close();
    source = undefined;
  };

  /** Waits for two drains at the slowest pace, with a margin for a loaded machine. */
  const drained = () => systemClock.sleep(seconds(1));

  /** Waits until all ends of a program's connections have been reported or were lost by the kernel. */
  const untilReported = async ({ pid, ends }: { pid: number; ends: readonly unknown[] }) => {
    const count = () => recorder.of(pid).length + recorder.lost.kernel;
    await until(
      () => `${ends.length} ends; ${count()} were reported`,
      () => count() >= ends.length,
    );
  };

  afterEach(async () => {
    await close();
    for (const undo of cleanUp.splice(0)) undo();
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    }
    child = undefined;
  });

  after(() => {
    connector?.remove();
  });

  describe('of a 64-bit program', () => {
    before(function () {
      require(this, connector.path === undefined ? 'there is no C compiler' : undefined);
    });

    it('reports each end once with direction, protocol and peer, whether it is closed immediately or held', async () => {
      await open();
      const brief = await connector.make(
        125,
        withIpv6([
          'tcp.v4',
          'tcp.v6',
          'tcp.mapped',
          'tcp.v4.nonblock',
          'tcp.v6.nonblock.twice',
          'tcp.v4.accept4',
          'tcp.v6.nonblock.accept4',
          'udp.v4',
          'udp.v6',
          'udp.mapped',
          'refused.v4',
        ]),
      );
      const unix = await connector.make(125, ['unix']);
      const held = await connector.make(
        40,
        withIpv6(['tcp.v4', 'tcp.v6', 'tcp.v4.noaddress', 'tcp.v6.noaddress', 'tcp.mapped.noaddress', 'udp.v6']),
        { hold: true },
      );
      await untilReported(held);
      await held.release();
      await brief.release();
      await unix.release();
      await close();
      assert.equal(recorder.lost.unresolved, 0);
      assert.ok(brief.ends.length >= 500);
      for (const { pid, ends } of [brief, held, unix]) {
        const [made, seen] = [tally(ends), tally(recorder.of(pid))];
        if (recorder.lost.kernel === 0) assert.deepEqual(seen, made);
        for (const [end, count] of Object.entries(seen)) assert.ok(count <= (made[end] ?? 0), end);
        assert.ok(ends.length - recorder.of(pid).length <= recorder.lost.kernel);
      }
      const all = [...recorder.of(brief.pid), ...recorder.of(held.pid)];
      assert.ok(all.every(({ executable, userId }) => executable === connector.path && userId === process.getuid?.()));
      process.stderr.write(
        `    ${brief.ends.length + held.ends.length} ends were made, ${all.length} reported, ${recorder.lost.kernel} lost\n`,
      );
    });

    it('reports the local end of a held connection, and never a wrong one', async () => {
      await open();
      const kinds = withIpv6(['tcp.v4', 'tcp.v4.noaddress', 'tcp.v6.nonblock', 'tcp.mapped', 'udp.v4', 'udp.v6']);
      const held = await connector.make(20, kinds, { hold: true });
      const brief = await connector.make(
        20,
        kinds.filter((kind) => !kind.includes('noaddress')),
      );
      await untilReported(held);
      await held.release();
      await close();
      const exact = (end: ConnectionSeen) => `${summary(end)} ${end.local?.address} ${end.local?.port}`;
      const made = (ends: readonly MadeEnd[]) => ends.map((end) => `${summary(end)} ${end.address} ${end.localPort}`);
      assert.deepEqual(recorder.of(held.pid).map(exact).sort(), made(held.ends).sort());
      const right = new Set(made(brief.ends));
      for (const end of recorder.of(brief.pid)) {
        assert.ok(end.local?.address === undefined || end.local.address === end.remote.address);
        if (end.local?.port !== undefined)
          assert.ok(right.has(`${summary(end)} ${end.remote.address} ${end.local.port}`));
        assert.ok(end.commandLine === undefined || end.commandLine.includes('connections'));
      }
      const commandLine = `${connector.path} 20 1 ${kinds.join(' ')}`;
      assert.ok(recorder.of(held.pid).every((end) => end.commandLine === commandLine));
    });

    it('counts a closed connection as lost if the program did not request the peer address', async () => {
      await open();
      const { pid, ends } = await connector.make(500, ['tcp.v4.noaddress']);
      await drained();
      await close();
      const seen = recorder.of(pid);
      assert.ok(seen.length + recorder.lost.unresolved <= ends.length);
      assert.ok(seen.length + recorder.lost.unresolved + recorder.lost.kernel >= ends.length);
      const made = tally(ends);
      for (const [end, count] of Object.entries(tally(seen))) assert.ok(count <= (made[end] ?? 0), end);
      process.stderr.write(`    ${recorder.lost.unresolved} of 500 could not be resolved\n`);
    });

    it('omits loopback connections by default', async () => {
      await open({ loopback: false });
      const held = await connector.make(
        20,
        withIpv6(['tcp.v4', 'tcp.v6.nonblock', 'tcp.mapped', 'udp.v4', 'tcp.v4.noaddress', 'unix']),
        { hold: true },
      );
      await drained();
      await held.release();
      await close();
      assert.deepEqual(recorder.of(held.pid), []);
    });

    it('reports both ends of a connection in another network namespace', async function () {
      const name = `vakt-test-${process.pid}`;
      const ip = (...args: string[]) => spawnSync('ip', args).status === 0;
      const made = ip('netns', 'add', name) && ip('-n', name, 'link', 'set', 'lo', 'up');
      require(this, made ? undefined : 'no network namespace can be created');
      cleanUp.push(() => ip('netns', 'del', name));
      await open();
      const kinds = ['tcp.v4', 'tcp.v4.noaddress', 'udp.v4'];
      const held = await connector.make(10, kinds, { hold: true, within: ['ip', 'netns', 'exec', name] });
      await untilReported(held);
      await held.release();
      await close();
      const seen = recorder.of(held.pid);
      assert.deepEqual(tally(seen), tally(held.ends));
      const ports = (ends: readonly (number | undefined)[]) => ends.map(String).sort();
      assert.deepEqual(ports(seen.map(({ local }) => local?.port)), ports(held.ends.map(({ localPort }) => localPort)));
    });
  });

  describe('of a 32-bit program', () => {
    const SOCKETCALL = 102;
    const [SOCKET, LISTEN, ACCEPT, CONNECT, ACCEPT4] = [1, 4, 5, 3, 18];
    const PAUSE: Call32 = [29];

    before(function () {
      require(this, process.arch === 'x64' ? undefined : 'this is not x86_64');
      const program = join(folder, 'exit');
      writeFileSync(program, elf32([[1, 0]]), { mode: 0o755 });
      require(this, spawnSync(program).error === undefined ? undefined : 'the kernel runs no 32-bit programs');
    });

    const start = (calls: readonly Call32[]) => {
      const program = join(folder, `elf32-${process.hrtime.bigint()}`);
      writeFileSync(program, elf32(calls), { mode: 0o755 });
      child = spawn(program, { stdio: ['ignore', 'ignore', 'ignore'] });
      return { program, pid: child.pid ?? 0 };
    };

    it('reports connections by socketcall and by connect', async () => {
      const server = createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1');
      cleanUp.push(() => server.close());
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      const peer = Buffer.alloc(16);
      peer.writeUInt8(2);
      peer.writeUInt16BE(port, 2);
      peer.writeUInt32BE(0x7f00_0001, 4);
      await open();
      const { pid, program } = start([
        [SOCKETCALL, SOCKET, [2, 1, 0]],
        [SOCKETCALL, CONNECT, [3, peer, 16]],
        [359, 2, 0o4001, 0], // socket, non-blocking
        [362, 4, peer, 16], // connect
        [SOCKETCALL, SOCKET, [2, 2, 0]],
        [SOCKETCALL, CONNECT, [5, peer, 16]],
        PAUSE,
      ]);
      await until('three connections', () => recorder.of(pid).length >= 3);
      await drained();
      await close();
      const seen = recorder.of(pid);
      assert.deepEqual(seen.map(summary), [
        `Out TCP 127.0.0.1 ${port}`,
        `Out TCP 127.0.0.1 ${port}`,
        `Out UDP 127.0.0.1 ${port}`,
      ]);
      for (const { local, executable } of seen) {
        assert.equal(local?.address, '127.0.0.1');
        assert.ok(local.port);
        assert.equal(executable, program);
      }
    });

    it('reports connections accepted by socketcall', async () => {
      await open();
      const { pid } = start([
        [SOCKETCALL, SOCKET, [2, 1, 0]],
        [SOCKETCALL, LISTEN, [3, 8]], // the kernel chooses the port
        [SOCKETCALL, ACCEPT, [3, Buffer.alloc(16), [16]]],
        [SOCKETCALL, ACCEPT4, [3, 0, 0, 0]],
        PAUSE,
      ]);
      const clients: Socket[] = [];
      cleanUp.push(() => {
        for (const client of clients) client.destroy();
      });
      let port: number | undefined;
      await until('a port', async () => {
        const sockets = await new ListeningSockets().listening(new AbortController().signal);
        port = sockets.find((socket) => socket.pid === pid)?.localPort;
        return port !== undefined;
      });
      for (let count = 0; count < 2; count += 1) {
        const client = connect(port ?? 0, '127.0.0.1').on('error', () => {});
        clients.push(client);
        await once(client, 'connect');
      }
      await until('two connections', () => recorder.of(pid).length >= 2);
      await drained();
      await close();
      const seen = recorder.of(pid);
      assert.deepEqual(
        seen.map(summary),
        clients.map(({ localPort }) => `In TCP 127.0.0.1 ${localPort}`),
      );
      assert.ok(seen.every(({ local }) => local?.port === port && local?.address === '127.0.0.1'));
    });
  });
});
