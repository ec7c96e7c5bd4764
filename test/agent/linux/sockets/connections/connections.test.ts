import assert from 'node:assert/strict';
import { readFileSync, rmSync } from 'node:fs';
import { endianness } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import sinon from 'sinon';
import * as v from 'valibot';
import { connectionCreate } from '../../../../../src/agent/collectors/connection-create.ts';
import type { AuditEvent, AuditFields } from '../../../../../src/agent/linux/audit/event.ts';
import { readHeader } from '../../../../../src/agent/linux/audit/header.ts';
import { Reassembler } from '../../../../../src/agent/linux/audit/reassembler.ts';
import { Connections } from '../../../../../src/agent/linux/sockets/connections/connections.ts';
import type { HeldCount } from '../../../../../src/agent/linux/source-state/held-count.ts';
import { milliseconds, seconds } from '../../../../../src/core/base/duration.ts';
import type { LogLine } from '../../../../../src/core/base/log.ts';
import type { SocketAddress } from '../../../../../src/core/contract/streams.ts';
import { fuzzRuns } from '../../../../fuzz.ts';
import { skip } from '../../../../harness/require.ts';
import { look } from '../../../collectors/samples.ts';
import { quietLog } from '../../../pipeline/memory-queues.ts';
import { readHere } from '../../processes/memory/read-here.ts';
import { ConnectionSink, FakeHost, NOW } from './fake-host.ts';

const PEER: SocketAddress = { address: '192.0.2.7', port: 443 };
const LOCAL = { address: '192.0.2.2', port: 50_042 };

describe('Connections', () => {
  let host: FakeHost;
  let sink: ConnectionSink;
  let lines: LogLine[];
  let serial = 0;

  beforeEach(() => {
    host = new FakeHost();
    sink = new ConnectionSink();
    lines = [];
  });
  afterEach(() => host.close());

  const start = (options: Partial<ConstructorParameters<typeof Connections>[0]> = {}) =>
    new Connections({
      sink: sink,
      clock: host.clock,
      log: quietLog(lines),
      loopback: false,
      own: (pid) => pid === 999,
      commandLineOf: () => undefined,
      commandLines: readHere(host.proc),
      proc: host.proc,
      open: () => host.kernel,
      protocolAt: (_proc, _pid, _fd, inode) => host.protocols.get(inode),
      ...options,
    });

  const event = (syscall: string, fields: AuditFields, rest: Partial<AuditEvent> = {}): AuditEvent => {
    serial += 1;
    const who = { pid: '7', ppid: '6', euid: '1000', exe: '/usr/bin/x' };
    return { time: NOW, serial, syscall, success: true, fields: { ...who, ...fields }, ...rest };
  };
  const socket = (exit: number, type = 1, fields: AuditFields = {}) =>
    event('socket', { a0: '2', a1: type.toString(16), a2: '0', exit: String(exit), ...fields });
  const connect = (fd: number, address: SocketAddress | null = PEER, fields: AuditFields = {}) =>
    event('connect', { a0: fd.toString(16), exit: '0', ...fields }, address === null ? {} : { address });
  const pendingConnect = (fd: number, address = PEER) =>
    event('connect', { a0: fd.toString(16), exit: '-115' }, { success: false, address });
  const accept = (listener: number, exit: number, address?: SocketAddress, fields: AuditFields = {}) =>
    event(
      'accept4',
      { a0: listener.toString(16), exit: String(exit), ...fields },
      address === undefined ? {} : { address },
    );

  const report = (connections: Connections, ...events: AuditEvent[]) => {
    connections.accept(events);
    connections.settle();
    return sink.seen;
  };
  const one = (connections: Connections, ...events: AuditEvent[]) => {
    const [seen, ...more] = report(connections, ...events);
    assert.equal(more.length, 0);
    return seen;
  };

  describe('for a program that connects', () => {
    it('reports the program, the peer and the local end', () => {
      host.process(7);
      host.open(7, 3, 42);
      host.connected('tcp', 42, 443);
      const call = connect(3);
      assert.deepEqual(one(start({ commandLineOf: () => 'x -y' }), socket(3), call), {
        time: NOW,
        serial: call.serial,
        direction: 'Out',
        protocol: 'TCP',
        remote: PEER,
        local: LOCAL,
        pid: 7,
        parentPid: 6,
        userId: 1000,
        executable: '/usr/bin/x',
        commandLine: 'x -y',
      });
    });

    it('reports UDP if the socket was created for it', () => {
      host.process(7);
      host.open(7, 3, 42);
      host.connected('udp', 42, 443);
      const seen = one(start(), socket(3, 2), connect(3));
      assert.deepEqual([seen?.protocol, seen?.local], ['UDP', LOCAL]);
    });

    it('reports UDP if the socket is observed to be UDP, even if its creation was not seen', () => {
      host.process(7);
      host.open(7, 3, 42);
      host.connected('udp', 42, 443);
      assert.equal(one(start(), connect(3))?.protocol, 'UDP');
    });

    it('reports TCP if nothing but the call is known', () => {
      assert.equal(one(start(), connect(3))?.protocol, 'TCP');
      assert.equal(report(start(), pendingConnect(3))[1]?.protocol, 'TCP');
    });

    it('reports one connection if a non-blocking call is repeated for its result', () => {
      const connections = start();
      assert.equal(one(connections, socket(3), pendingConnect(3), connect(3))?.direction, 'Out');
      assert.equal(report(connections, connect(3)).length, 2); // that is another one
    });

    it('reports two connections if another socket got the descriptor in between', () => {
      assert.equal(report(start(), socket(3), pendingConnect(3), socket(3), connect(3)).length, 2);
    });

    it('reports nothing for sockets of other kinds or other address families', () => {
      host.process(7);
      host.open(7, 3, 42, 'other');
      assert.deepEqual(report(start(), socket(3, 3), connect(3), connect(4, null)), []);
      assert.equal(sink.unresolved, 0);
    });

    it('counts a record without a process', () => {
      assert.deepEqual(report(start(), ...['pid', 'ppid', 'euid'].map((id) => connect(3, PEER, { [id]: '.5' }))), []);
      assert.equal(sink.unresolved, 3);
    });

    it('reports no connection of the agent itself', () => {
      assert.deepEqual(report(start(), connect(3, PEER, { pid: '999' })), []);
    });

    it('adds the command line from the start, or else of the running process', async () => {
      host.process(7);
      host.stat(7);
      assert.equal(one(start({ commandLineOf: () => 'x as it began' }), connect(3))?.commandLine, 'x as it began');
      sink.seen.length = 0;
      const learned: unknown[] = [];
      const connections = start({ learned: (...all) => learned.push(all) });
      assert.deepEqual(report(connections, connect(3), connect(4)), []);
      await connections.close();
      assert.deepEqual(
        sink.seen.map(({ commandLine }) => commandLine),
        ['x -y', 'x -y'],
      );
      assert.deepEqual(learned, [[7, '/usr/bin/x', ['x', '-y']]]);
    });

    it('adds no command line of another program, or of an exited process', async () => {
      host.process(7, { executable: '/usr/bin/other' });
      host.stat(7);
      const connections = start();
      report(connections, connect(3), connect(3, PEER, { pid: '8' }));
      await connections.close();
      assert.deepEqual(
        sink.seen.map(({ pid, commandLine }) => [pid, commandLine]),
        [
          [8, undefined],
          [7, undefined],
        ],
      );
    });

    it('continues after the sink has thrown once, and logs it', async () => {
      host.process(7);
      host.stat(7);
      const accept = sinon.stub(sink, 'accept').callThrough();
      accept.onFirstCall().throws(new Error('a defect'));
      const connections = start();
      report(connections, ...Array.from({ length: 1_000 }, (_, fd) => connect(fd)));
      report(connections, ...Array.from({ length: 24 }, (_, fd) => connect(fd)));
      await connections.close();
      assert.equal(sink.seen.length, 24);
      assert.deepEqual(
        lines.map(({ level, id, message }) => [level, id, message]),
        [['error', 'INTERNAL', 'Internal error; continuing. (a defect)']],
      );
      assert.deepEqual(report(connections, ...Array.from({ length: 1_000 }, (_, fd) => connect(fd))).length, 24);
      await connections.close();
      assert.equal(sink.seen.length, 1_024);
    });

    it('stores a count of connections that wait for command lines, since a kill would lose them', async () => {
      host.process(7);
      host.stat(7);
      const noted: [number, number][] = [];
      const held = { set: (count: number) => void noted.push([count, sink.seen.length]) } as unknown as HeldCount;
      const connections = start({ held });
      report(connections, connect(3), connect(4));
      assert.deepEqual(noted, [[2, 0]]);
      report(connections, connect(5));
      await connections.close();
      assert.deepEqual(noted, [
        [2, 0],
        [3, 0],
        [1, 2],
        [0, 3],
      ]);
    });

    it('does not wait for hanging command lines if many hang', async () => {
      host.process(7);
      host.stat(7);
      const connections = start({ commandLines: { read: () => new Promise(() => {}) } });
      for (let i = 0; i < 3; i += 1) report(connections, ...Array.from({ length: 500 }, (_, fd) => connect(fd)));
      assert.equal(sink.seen.length, 500);
    });
  });

  describe('for connections that are already closed', () => {
    beforeEach(() => host.process(6)); // the parent; the process itself has ended

    it('reports the local end of the remaining socket', () => {
      host.closed(100, 443, 50_042);
      host.elapsed = 200;
      assert.deepEqual(one(start(), socket(3), connect(3))?.local, LOCAL);
    });

    it('reports the local end while the peer has not closed the connection', () => {
      host.halfClosed(59_900, 443, 50_042);
      host.elapsed = 200;
      assert.deepEqual(one(start(), socket(3), connect(3))?.local, LOCAL);
    });

    it('reports the local end even if listing sockets takes a while', () => {
      host.closed(200, 443, 50_042);
      host.elapsed = 150;
      host.takes(100);
      assert.deepEqual(one(start(), socket(3), connect(3))?.local, LOCAL);
    });

    it('reports the address alone if there are several sockets', () => {
      host.closed(100, 443, 50_042);
      host.closed(50, 443, 50_043);
      host.elapsed = 200;
      assert.deepEqual(one(start(), socket(3), connect(3))?.local, { address: '192.0.2.2' });
    });

    it('ignores an earlier connection with the same peer', () => {
      host.closed(5_000, 443, 50_042);
      host.elapsed = 200;
      assert.equal(one(start(), socket(3), connect(3))?.local, undefined);
    });

    it('ignores other sockets: another namespace, a running process, UDP', () => {
      host.process(16, { network: 'net:[1]' });
      host.closed(0, 443, 50_042);
      host.connected('tcp', 42, 443);
      const seen = report(
        start(),
        connect(3, PEER, { pid: '17', ppid: '16' }),
        connect(3, PEER, { pid: '18', ppid: '19' }),
        socket(4, 2),
        connect(4),
      );
      assert.deepEqual(
        seen.map(({ local }) => local),
        [undefined, undefined, undefined],
      );
    });

    it('ignores a socket that has the descriptor now', () => {
      host.process(7);
      host.open(7, 3, 42);
      host.connected('tcp', 42, 80);
      const seen = one(start(), socket(3), connect(3));
      assert.deepEqual([seen?.remote, seen?.local], [PEER, undefined]);
    });
  });

  describe('for connections that a server accepts', () => {
    beforeEach(() => {
      host.process(7);
      host.open(7, 3, 30);
      host.listener(30, 22);
    });
    const CLIENT: SocketAddress = { address: '192.0.2.7', port: 50_113 };

    it('reports the peer and the local end', () => {
      host.open(7, 5, 42);
      host.connected('tcp', 42, CLIENT.port, 22);
      const { direction, protocol, remote, local } = one(start(), accept(3, 5, CLIENT)) ?? {};
      assert.deepEqual(
        { direction, protocol, remote, local },
        { direction: 'In', protocol: 'TCP', remote: CLIENT, local: { address: '192.0.2.2', port: 22 } },
      );
    });

    it('reports a peer that the server did not request', () => {
      host.open(7, 5, 42);
      host.connected('tcp', 42, CLIENT.port, 22);
      assert.deepEqual(one(start(), accept(3, 5))?.remote, CLIENT);
    });

    it('counts connections that are already closed', () => {
      assert.deepEqual(report(start(), accept(3, 5), accept(3, 5)), []);
      assert.equal(sink.unresolved, 2);
    });

    it("reports the listener's port for closed connections, even if the process has exited", () => {
      const connections = start();
      assert.deepEqual(one(connections, accept(3, 5, CLIENT))?.local, { port: 22 });
      host.end(7);
      assert.deepEqual(report(connections, accept(3, 5, CLIENT))[1]?.local, { port: 22 });
    });

    it('reports the address that the listener is bound to', () => {
      host.open(7, 4, 31);
      host.listener(31, 80, 'c0000202');
      assert.deepEqual(one(start(), accept(4, 5, CLIENT))?.local, { address: '192.0.2.2', port: 80 });
    });

    it('reports each of several connections at one descriptor once', () => {
      host.open(7, 5, 42);
      host.connected('tcp', 42, CLIENT.port, 22);
      const connections = start();
      assert.equal(one(connections, accept(3, 5), accept(3, 5))?.remote.port, CLIENT.port);
      assert.equal(sink.unresolved, 1); // the first is closed
      assert.equal(report(connections, accept(3, 5)).length, 1); // it was this one, reported too early
      assert.equal(sink.unresolved, 2);
      host.open(7, 5, 43);
      host.connected('tcp', 43, 50_114, 22);
      assert.equal(report(connections, accept(3, 5))[1]?.remote.port, 50_114);
    });

    it('reports nothing for a listener of another family, in a running or exited process', () => {
      host.open(7, 4, 77);
      assert.deepEqual(report(start(), accept(4, 5), accept(4, 5, undefined, { pid: '8' })), []);
      assert.equal(sink.unresolved, 0);
    });

    it('reports connections of a listener that is in no list, if the peer is known', () => {
      host.open(7, 4, 77);
      const { remote, local } = one(start(), accept(4, 5, CLIENT)) ?? {};
      assert.deepEqual([remote, local], [CLIENT, undefined]);
    });

    it('counts connections of a listener whose creation was seen, even if all of it was removed', () => {
      report(start(), socket(3, 1, { pid: '8' }), accept(3, 5, undefined, { pid: '8' }));
      assert.equal(sink.unresolved, 1);
    });

    it('reports nothing for a listener of another kind that still exists', () => {
      const sctp = event('socket', { a0: '2', a1: '1', a2: '84', exit: '4' });
      host.open(7, 4, 77, 'other');
      assert.deepEqual(report(start(), sctp, accept(4, 5, CLIENT), accept(4, 5)), []);
      assert.equal(sink.unresolved, 0);
    });

    it('searches no more after a minute, when the descriptor may be anything', () => {
      host.open(7, 5, 42);
      host.connected('tcp', 42, CLIENT.port, 22);
      host.elapsed = seconds(61);
      assert.deepEqual(report(start(), accept(3, 5)), []);
      assert.equal(sink.unresolved, 1);
      assert.deepEqual(report(start(), accept(3, 5, CLIENT))[0]?.local, { port: 22 });
    });
  });

  /* dup2(2), fcntl(2), SCM_RIGHTS, pidfd_getfd(2) and close_range(2) are not audited. */
  describe('for a descriptor that another socket may have got', () => {
    const ICMP = { a0: '2', a1: '2', a2: '1' };
    const UDP_LITE = { a0: '2', a1: '2', a2: '88' };
    const other = (exit: number, kind: AuditFields = ICMP) => event('socket', { ...kind, exit: String(exit) });
    const CLIENT: SocketAddress = { address: '192.0.2.7', port: 50_113 };

    beforeEach(() => host.process(7));

    it('reports a socket that is observed to be connected', () => {
      for (const kind of [ICMP, UDP_LITE])
        for (const protocol of ['TCP', 'UDP'] as const) {
          host.open(7, 3, 42, protocol);
          host.kernel.tcp.length = 0;
          host.kernel.udp.length = 0;
          host.connected(protocol === 'TCP' ? 'tcp' : 'udp', 42, 443);
          const seen = report(start(), other(3, kind), connect(3)).pop();
          assert.deepEqual([seen?.protocol, seen?.remote, seen?.local], [protocol, PEER, LOCAL]);
        }
      assert.equal(sink.unresolved, 0);
    });

    it('reports connections if the kernel only supports lists', () => {
      host.open(7, 3, 42);
      host.connected('tcp', 42, 443);
      assert.deepEqual(one(start(), other(3), connect(3))?.local, LOCAL);
    });

    it('reports a TCP socket that is no longer connected', () => {
      host.open(7, 3, 42, 'TCP');
      const { protocol, remote } = one(start(), other(3), connect(3)) ?? {};
      assert.deepEqual([protocol, remote], ['TCP', PEER]);
    });

    it('counts a closed socket, or one of an unknown kind', () => {
      const connections = start();
      assert.deepEqual(report(connections, other(3), connect(3)), []);
      host.open(7, 4, 43);
      assert.deepEqual(report(connections, other(4), connect(4)), []);
      host.end(7);
      assert.deepEqual(report(connections, other(5), connect(5), pendingConnect(5)), []);
      assert.equal(sink.unresolved, 4);
    });

    it('reports nothing for a socket of its original kind, such as that of ping', () => {
      host.open(7, 3, 42, 'other');
      assert.deepEqual(report(start(), other(3), connect(3), connect(3, { ...PEER, port: 0 })), []);
      assert.equal(sink.unresolved, 0);
    });

    it('counts such a socket if no list was readable', () => {
      host.open(7, 3, 42, 'other');
      host.kernel.errno = 2;
      assert.deepEqual(report(start(), other(3), connect(3)), []);
      assert.equal(sink.unresolved, 1);
    });

    it('counts connections after lookups have taken too long, until time is available again', () => {
      const connections = start({
        protocolAt: (_proc, _pid, _fd, inode) => {
          host.elapsed += 500; // of the 200 that are saved up
          return host.protocols.get(inode);
        },
      });
      host.open(7, 3, 42, 'other');
      const unresolved = () => {
        report(connections, other(3), connect(3));
        return sink.unresolved;
      };
      assert.deepEqual([unresolved(), unresolved()], [0, 1]);
      host.elapsed += milliseconds(16_000);
      assert.equal(unresolved(), 1);
      assert.deepEqual(sink.seen, []);
    });

    it('reports it if the first socket has it again, but another one has or had the peer', () => {
      host.open(7, 3, 42, 'other');
      host.connected('tcp', 99, 443);
      const { protocol, remote, local } = one(start(), other(3), connect(3)) ?? {};
      assert.deepEqual([protocol, remote, local], ['TCP', PEER, undefined]);
      host.kernel.tcp.length = 0;
      host.connected('udp', 99, 443);
      assert.equal(report(start(), other(3), connect(3))[1]?.protocol, 'UDP');
      host.kernel.udp.length = 0;
      host.closed(100, 443, 50_042);
      host.elapsed = 200;
      assert.equal(report(start(), other(3), connect(3))[2]?.protocol, 'TCP');
      host.kernel.tcp.length = 0;
      host.connected('tcp', 0, 443); // closed, and its last data is still to be sent
      assert.equal(report(start(), other(3), connect(3))[3]?.protocol, 'TCP');
      host.kernel.tcp.length = 0;
      host.halfClosed(1_000, 443, 50_042);
      assert.equal(report(start(), other(3), connect(3))[4]?.protocol, 'TCP');
      assert.equal(sink.unresolved, 0);
    });

    it("reports it if the first socket has it again, but another one's peer was looked up as well", () => {
      host.open(7, 3, 42, 'other');
      for (const [name, protocol, type] of [
        ['tcp', 'TCP', 1],
        ['udp', 'UDP', 2],
      ] as const) {
        host.open(7, 4, 43, protocol);
        host.connected(name, 43, 443);
        const earlier = [socket(4, type), connect(4, { address: '192.0.2.99', port: 9 })];
        const seen = report(start(), ...earlier, other(3), connect(3)).splice(0);
        assert.deepEqual(
          seen.map((connection) => [connection.protocol, connection.remote]),
          [
            [protocol, { address: '192.0.2.99', port: 9 }],
            [protocol, PEER],
          ],
        );
        host.kernel[name].length = 0;
      }
    });

    it('reports it if the first socket has it again, but another one had the peer and listing is slow', () => {
      host.open(7, 3, 42, 'other');
      host.closed(200, 443, 50_042);
      host.elapsed = 150;
      host.takes(100);
      assert.equal(one(start(), other(3), connect(3))?.protocol, 'TCP');
    });

    it('reports it if the first socket has it again, but several others had the peer by two addresses', () => {
      host.open(7, 3, 42, 'other');
      host.closed(100, 443, 50_042);
      host.closed(100, 443, 50_042, 'c0000203');
      host.elapsed = 200;
      const { protocol, remote, local } = one(start(), other(3), connect(3)) ?? {};
      assert.deepEqual([protocol, remote, local], ['TCP', PEER, undefined]);
    });

    it('reports it if the first socket has it again, but another one had the peer, after many before it', () => {
      host.open(7, 3, 42, 'other');
      for (let port = 1; port <= 100; port += 1) host.closed(500, 443, port);
      host.closed(100, 443, 50_042);
      host.elapsed = 200;
      const earlier = { ...connect(5), time: new Date(NOW.getTime() - 1_000) };
      const seen = report(start(), socket(5), earlier, other(3), connect(3));
      assert.deepEqual(
        seen.map(({ protocol }) => protocol),
        ['TCP', 'TCP'],
      );
    });

    it('reports it if a connect of the first socket to the same peer was in progress', () => {
      const sctp = event('socket', { a0: '2', a1: '1', a2: '84', exit: '3' });
      host.open(7, 3, 42, 'other');
      const connections = start();
      assert.deepEqual(report(connections, sctp, pendingConnect(3), connect(3)), []);
      assert.equal(sink.unresolved, 0);
      report(connections, pendingConnect(3));
      host.open(7, 3, 43, 'TCP');
      host.connected('tcp', 43, 443);
      assert.deepEqual(one(connections, connect(3))?.protocol, 'TCP');
    });

    it('reports the protocol of the socket, not of the one before it', () => {
      host.open(7, 3, 42, 'UDP');
      host.connected('udp', 42, 443);
      host.open(7, 4, 43, 'TCP');
      host.connected('tcp', 43, 80);
      const seen = report(start(), socket(3, 1), socket(4, 2), connect(3), connect(4, { ...PEER, port: 80 }));
      assert.deepEqual(
        seen.map(({ protocol, local }) => [protocol, local?.port]),
        [
          ['UDP', 50_042],
          ['TCP', 50_043],
        ],
      );
    });

    it('reports TCP if the call did not block, regardless of the earlier socket', () => {
      assert.equal(one(start(), socket(3, 2), pendingConnect(3))?.protocol, 'TCP');
    });

    it('reports the original kind of the descriptor if it now belongs to another file', () => {
      host.open(7, 3, 42, 'other');
      host.open(7, 4, 43, 'other');
      const seen = report(start(), socket(3, 1), socket(4, 2), connect(3), connect(4));
      assert.deepEqual(
        seen.map(({ protocol }) => protocol),
        ['TCP', 'UDP'],
      );
    });

    describe('of a listener', () => {
      const sctp = () => event('socket', { a0: '2', a1: '1', a2: '84', exit: '3' });

      it('reports it if the listener or the connection is observed to be TCP', () => {
        host.open(7, 3, 30, 'TCP');
        host.listener(30, 22);
        const { protocol, remote, local } = one(start(), sctp(), accept(3, 5, CLIENT)) ?? {};
        assert.deepEqual([protocol, remote, local], ['TCP', CLIENT, { port: 22 }]);
        host.open(7, 3, 31, 'other');
        host.open(7, 5, 42, 'TCP');
        host.connected('tcp', 42, CLIENT.port, 22);
        assert.deepEqual(report(start(), sctp(), accept(3, 5, CLIENT))[1]?.local, { ...LOCAL, port: 22 });
        assert.deepEqual(report(start(), sctp(), accept(3, 5))[2]?.remote, CLIENT); // the listener was replaced since
      });

      it('counts it if all of it was removed', () => {
        assert.deepEqual(report(start(), sctp(), accept(3, 5, CLIENT)), []);
        assert.equal(sink.unresolved, 1);
      });

      it('counts it if it is TCP but no longer listens, or if lists are unreadable', () => {
        host.open(7, 3, 30, 'TCP');
        assert.deepEqual(report(start(), accept(3, 5)), []);
        assert.equal(sink.unresolved, 1);
        host.kernel.errno = 2;
        assert.deepEqual(report(start(), accept(3, 5)), []);
        assert.equal(sink.unresolved, 2);
      });

      it('reports nothing, without any list, if the kernel reports another family', () => {
        host.open(7, 3, 30, 'other');
        host.open(7, 5, 31, 'other');
        assert.deepEqual(report(start(), accept(3, 5)), []);
        assert.deepEqual([sink.unresolved, host.kernel.requests.length], [0, 0]);
      });

      it('counts it if it was removed, and the process or its parent had a TCP socket at any descriptor', () => {
        const ended = { pid: '8', ppid: '9' };
        assert.deepEqual(report(start(), socket(3, 1, ended), accept(7, 5, undefined, ended)), []);
        assert.equal(sink.unresolved, 1);
        report(start(), socket(3, 1, { pid: '9' }), accept(3, 5, undefined, ended));
        assert.equal(sink.unresolved, 2);
        report(start(), socket(3, 2, { pid: '9' }), accept(3, 5, undefined, ended));
        assert.equal(sink.unresolved, 2);
      });

      it('counts it if only an earlier listener of another family or on loopback is known', () => {
        const connections = start();
        host.open(7, 3, 30, 'other');
        host.open(7, 4, 31, 'TCP');
        host.listener(31, 80, '7f000001');
        report(connections, socket(6), accept(3, 5), accept(4, 5));
        assert.equal(sink.unresolved, 0);
        host.end(7);
        report(connections, accept(3, 5), accept(4, 5));
        assert.equal(sink.unresolved, 2);
      });
    });
  });

  describe('for connections of this machine with itself', () => {
    const ENDS = [
      { address: '127.0.0.1', port: 80 },
      { address: '127.99.0.1', port: 80 },
      { address: '::1', port: 80 },
      { address: '0.0.0.0', port: 80 },
      { address: '::', port: 80 },
    ];

    it('omits them', () => {
      assert.deepEqual(
        report(start(), ...ENDS.map((end) => connect(3, end)), ...ENDS.slice(0, 3).map((end) => accept(3, 5, end))),
        [],
      );
    });

    it('reports them on request, with the intended address', () => {
      const seen = report(start({ loopback: true }), ...ENDS.map((end) => connect(3, end)));
      assert.deepEqual(
        seen.map(({ remote }) => remote.address),
        ['127.0.0.1', '127.99.0.1', '::1', '127.0.0.1', '::1'],
      );
    });

    it('omits them if only the socket or its listening address shows it', () => {
      host.process(7);
      host.open(7, 3, 30);
      host.listener(30, 80, '7f000001');
      assert.deepEqual(report(start(), accept(3, 5)), []);
      assert.equal(sink.unresolved, 0);
    });
  });

  describe('in another network namespace', () => {
    const LISTENER =
      '   0: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 30 1 0000000000000000 100 0 0 10 0';
    const TAKEN =
      '   1: 020200C0:0050 070200C0:C3C1 01 00000000:00000000 00:00000000 00000000     0        0 42 1 0000000000000000 20 4 0 37 -1';

    beforeEach(function () {
      if (endianness() !== 'LE') return skip(this, 'the records are of a little-endian machine');
      host.process(7, { network: 'net:[1]' });
      host.net(7, 'tcp', [LISTENER, TAKEN]);
      host.open(7, 3, 30);
      host.open(7, 5, 42);
    });

    it("finds them in that namespace's list", () => {
      const { remote, local } = one(start(), accept(3, 5)) ?? {};
      assert.deepEqual(
        [remote, local],
        [
          { address: '192.0.2.7', port: 50_113 },
          { address: '192.0.2.2', port: 80 },
        ],
      );
    });

    it('reports nothing for a listener that is missing in that list', () => {
      host.open(7, 4, 31);
      assert.deepEqual(report(start(), accept(4, 6)), []);
      assert.equal(sink.unresolved, 0);
    });

    it('counts connections of a missing listener if the list was not read completely', () => {
      host.open(7, 4, 31);
      host.net(
        7,
        'tcp',
        Array.from({ length: 40_000 }, () => TAKEN),
      );
      assert.deepEqual(report(start(), accept(4, 6)), []);
      assert.equal(sink.unresolved, 1);
    });

    describe('for a descriptor that has its first socket again', () => {
      const PING = { a0: '2', a1: '2', a2: '1', exit: '6' };
      const ELSEWHERE = TAKEN.replace(' 42 1 ', ' 99 1 ');
      const CLOSED = TAKEN.replace(' 01 ', ' 06 ').replace(' 42 1 ', ' 0 3 ');
      const call = (port: number, fields: AuditFields = {}) => [
        event('socket', { ...PING, ...fields }),
        connect(6, { address: '192.0.2.7', port }, fields),
      ];

      beforeEach(() => host.open(7, 6, 50, 'other'));

      it('reports it if another socket in the namespace has or had the peer', () => {
        host.net(7, 'tcp', [LISTENER, ELSEWHERE]);
        const { protocol, remote, local } = one(start(), ...call(50_113)) ?? {};
        assert.deepEqual([protocol, remote?.port, local], ['TCP', 50_113, undefined]);
        host.net(7, 'tcp', [CLOSED]);
        assert.equal(report(start(), ...call(50_113))[1]?.protocol, 'TCP');
        host.net(7, 'tcp', []);
        host.net(7, 'udp', [ELSEWHERE]);
        assert.equal(report(start(), ...call(50_113))[2]?.protocol, 'UDP');
        assert.equal(sink.unresolved, 0);
      });

      it('reports nothing if no socket in the namespace has the peer', () => {
        assert.deepEqual(report(start(), ...call(7)), []);
        assert.equal(sink.unresolved, 0);
      });

      it('counts it if the list is too long, separately from other namespaces', () => {
        host.net(
          7,
          'tcp',
          Array.from({ length: 40_000 }, () => ELSEWHERE),
        );
        host.process(8, { network: 'net:[2]' });
        host.open(8, 6, 51, 'other');
        host.net(8, 'tcp', [LISTENER]);
        assert.deepEqual(report(start(), ...call(50_113), ...call(50_113, { pid: '8' })), []);
        assert.equal(sink.unresolved, 1);
      });

      it('counts it if a listener has the descriptor again and the connection is already closed', () => {
        const sctp = event('socket', { a0: '2', a1: '1', a2: '84', exit: '6' });
        assert.deepEqual(report(start(), sctp, accept(6, 8, PEER)), []);
        assert.equal(sink.unresolved, 1);
      });

      it('counts it if the network namespace is unknown', () => {
        host.process(8, { network: 'net:[2]' });
        host.open(8, 6, 51, 'other');
        rmSync(join(host.proc, '8/ns'), { recursive: true });
        assert.deepEqual(report(start(), ...call(50_113, { pid: '8' })), []);
        assert.equal(sink.unresolved, 1);
      });
    });
  });

  describe('if the kernel lists no sockets', () => {
    it('finds connections in /proc/net, and retries sock_diag after a minute', function () {
      if (endianness() !== 'LE') return skip(this, 'the records are of a little-endian machine');
      host.process(7);
      host.open(7, 5, 42);
      host.net(7, 'tcp', [
        '   1: 020200C0:C37A 070200C0:01BB 01 00000000:00000000 00:00000000 00000000     0        0 42 1 0000000000000000 20 4 0 37 -1',
      ]);
      host.kernel.errno = 2;
      const connections = start();
      assert.deepEqual(one(connections, socket(5), connect(5))?.local, LOCAL);
      const asked = host.kernel.requests.length;
      report(connections, socket(5), connect(5));
      assert.equal(host.kernel.requests.length, asked);
      assert.ok(host.kernel.isClosed);
      host.elapsed = seconds(60);
      host.kernel.errno = undefined;
      report(connections, connect(5));
      assert.ok(host.kernel.requests.length > asked);
    });

    it('finds UDP in /proc/net if only UDP is missing, and still finds TCP by sock_diag', function () {
      if (endianness() !== 'LE') return skip(this, 'the records are of a little-endian machine');
      host.kernel.isWithoutUdp = true;
      host.process(7);
      host.open(7, 5, 42);
      host.net(7, 'udp', [
        '   1: 020200C0:C37A 070200C0:01BB 01 00000000:00000000 00:00000000 00000000     0        0 42 2 0000000000000000 0',
      ]);
      const connections = start();
      assert.deepEqual(one(connections, socket(5, 2), connect(5))?.local, LOCAL);
      host.open(7, 6, 43);
      host.connected('tcp', 43, 443);
      const [, tcp] = report(connections, socket(6), connect(6));
      assert.deepEqual([tcp?.protocol, tcp?.local?.port], ['TCP', 50_043]);
    });

    it('omits another protocol if no socket in /proc/net has the peer; counts if unreadable', () => {
      const ping = (pid: number) => [
        event('socket', { a0: '2', a1: '2', a2: '1', exit: '6', pid: String(pid) }),
        connect(6, PEER, { pid: String(pid) }),
      ];
      for (const [pid, network] of [
        [7, host.here],
        [8, 'net:[1]'],
      ] as const) {
        host.process(pid, { network });
        host.net(pid, 'tcp', []);
        host.open(pid, 6, 40 + pid, 'other');
        for (const state of [{ isWithoutUdp: true }, { errno: 2 }]) {
          Object.assign(host.kernel, { isWithoutUdp: false, errno: undefined }, state);
          assert.deepEqual(report(start(), ...ping(pid)), []);
        }
      }
      assert.equal(sink.unresolved, 0);
      rmSync(join(host.proc, '7/net/tcp'));
      assert.deepEqual(report(start(), ...ping(7)), []);
      assert.equal(sink.unresolved, 1);
    });

    it('reports nothing for a listener missing in /proc/net; counts if unreadable', () => {
      host.kernel.errno = 2;
      host.process(7);
      host.net(7, 'tcp', []);
      host.open(7, 3, 30);
      assert.deepEqual(report(start(), accept(3, 5)), []);
      assert.equal(sink.unresolved, 0);
      rmSync(join(host.proc, '7/net/tcp'));
      assert.deepEqual(report(start(), accept(3, 5)), []);
      assert.equal(sink.unresolved, 1);
    });

    it('reports connections without the local end if /proc is missing as well', () => {
      const open = () => {
        throw new Error('koffi does not load');
      };
      assert.equal(one(start({ open, proc: '/nonexistent' }), socket(5), connect(5))?.local, undefined);
    });
  });

  describe('for many at the same time', () => {
    it('finds all of them with one request, with their ports', () => {
      host.process(7);
      for (let fd = 10; fd < 60; fd += 1) {
        host.open(7, fd, fd);
        host.connected('tcp', fd, 1_000 + fd);
      }
      const events = Array.from({ length: 50 }, (_, i) => [
        socket(i + 10),
        connect(i + 10, { address: '192.0.2.7', port: 1_010 + i }),
      ]);
      const seen = report(start(), ...events.flat());
      assert.equal(host.kernel.requests.length, 1);
      assert.ok((host.kernel.requests[0]?.length ?? 0) > 60);
      assert.deepEqual(
        seen.map(({ local }) => local?.port),
        Array.from({ length: 50 }, (_, i) => 50_010 + i),
      );
    });

    it('reports them before there are too many, in order', () => {
      const connections = start();
      connections.accept(Array.from({ length: 1_500 }, (_, port) => connect(3, { address: '192.0.2.7', port })));
      assert.equal(sink.seen.length, 1_024);
      connections.settle();
      assert.deepEqual(
        sink.seen.map(({ remote }) => remote.port),
        Array.from({ length: 1_500 }, (_, port) => port),
      );
    });

    it('omits the local end after lists have taken too long, until time is available again', () => {
      host.process(7);
      host.open(7, 3, 42);
      host.connected('tcp', 42, 443);
      host.takes(500); // of the 200 that are saved up
      const connections = start();
      assert.deepEqual(one(connections, socket(3), connect(3))?.local, LOCAL);
      assert.equal(report(connections, connect(3))[1]?.local, undefined);
      host.elapsed += milliseconds(16_000); // a fiftieth is more than the 300 that were owed
      assert.deepEqual(report(connections, connect(3))[2]?.local, LOCAL);
    });
  });

  it('closes its socket when idle, and opens another one when needed', () => {
    host.process(7);
    host.open(7, 3, 42);
    host.connected('tcp', 42, 443);
    const connections = start();
    report(connections, socket(3), connect(3));
    connections.close();
    assert.ok(host.kernel.isClosed);
    assert.deepEqual(report(connections, connect(3))[1]?.local, LOCAL);
  });

  it('reports valid connections for any events, and never more than there were', () => {
    host.process(7);
    host.listener(30, 22);
    for (let fd = 3; fd < 9; fd += 1) {
      host.open(7, fd, 27 + fd);
      host.connected(fd % 2 === 0 ? 'tcp' : 'udp', 27 + fd, fd);
    }
    const text = fc.oneof(fc.integer({ min: -200, max: 20 }).map(String), fc.string({ maxLength: 8 }));
    const names = ['a0', 'a1', 'a2', 'exit', 'pid', 'ppid', 'euid', 'exe'];
    const fields = fc.record(Object.fromEntries(names.map((name) => [name, text])), { requiredKeys: [] });
    const address = fc.record({
      address: fc.oneof(fc.ipV4(), fc.ipV6(), fc.constantFrom('0.0.0.0', '::')),
      port: fc.nat(65_535),
    });
    const events = fc.array(
      fc.record(
        {
          time: fc.constant(NOW),
          serial: fc.nat(),
          syscall: fc.constantFrom('socket', 'connect', 'accept', 'accept4', 'socketcall', 'execve', '9'),
          success: fc.boolean(),
          fields: fields.map((some) => ({ pid: '7', exe: '/usr/bin/x', ...some })),
          address,
          socketcall: fc.array(fc.integer({ min: -1, max: 10 }), { maxLength: 4 }),
        },
        { requiredKeys: ['time', 'serial', 'success', 'fields'] },
      ),
      { maxLength: 8 },
    );
    const connections = start({ loopback: true });
    fc.assert(
      fc.property(events, (given) => {
        sink.seen.length = 0;
        sink.unresolved = 0;
        for (const seen of report(connections, ...given)) {
          v.parse(connectionCreate.payload, connectionCreate.translate(seen, look));
        }
        assert.ok(sink.seen.length + sink.unresolved <= given.length);
      }),
      { numRuns: fuzzRuns(20_000) },
    );
  });

  /** @param file with records of a real kernel */
  const goldenEvents = (file: string): AuditEvent[] => {
    const events: AuditEvent[] = [];
    const reassembler = new Reassembler((audit) => events.push(audit));
    for (const line of readFileSync(`test/golden/debian13-6.18/${file}`, 'latin1').trimEnd().split('\n')) {
      const text = Buffer.from(line.slice(5), 'latin1');
      const header = readHeader(text, 0);
      assert.ok(header);
      reassembler.accept(Number(line.slice(0, 4)), header, text.toString('latin1', header.bodyAt), milliseconds(0));
    }
    return events;
  };

  it('reports each kind of connection in the golden records once', function () {
    if (endianness() !== 'LE') return skip(this, 'the records are of a little-endian machine');
    const seen = report(start({ loopback: true }), ...goldenEvents('audit-connect.txt'));
    assert.deepEqual(
      seen.map(({ direction, protocol, remote }) => `${direction} ${protocol} ${remote.address}`),
      [
        ...['Out TCP 127.0.0.1', 'In TCP 127.0.0.1'], // tcp.v4
        ...['Out TCP ::1', 'In TCP ::1'], // tcp.v6.accept4
        ...['Out TCP 127.0.0.1', 'In TCP 127.0.0.1'], // tcp.mapped
        ...['Out TCP 127.0.0.1', 'In TCP 127.0.0.1'], // tcp.v4.nonblock.twice
        'Out TCP 127.0.0.1', // tcp.v4.noaddress: see below
        'Out UDP 127.0.0.1',
        'Out UDP ::1',
        ...['Out TCP 192.0.2.1', 'Out TCP 192.0.2.1'], // 32 bits: by socketcall, and by connect
      ],
    );
    // The server without address; and the one over AF_UNIX, which got the descriptor of a TCP socket.
    assert.equal(sink.unresolved, 2);
  });

  /* What test/system/native/ring-connect.c did while the rules of ConnectionCreate were set. */
  it('reports each kind of connection in the golden records of io_uring once', function () {
    if (endianness() !== 'LE') return skip(this, 'the records are of a little-endian machine');
    host.process(20_165, { executable: '/opt/poller' });
    const seen = report(start({ loopback: true }), ...goldenEvents('audit-io-uring.txt'));
    assert.deepEqual(
      seen.map(({ executable, remote, pid }) => `${executable} ${pid} ${remote.address} ${remote.port}`),
      [
        '/tmp/uring/rc 20162 127.0.0.1 18080',
        '/opt/poller 20165 127.0.0.1 18080', // taken by a thread of the kernel
        '/tmp/uring/rc 20231 127.0.0.1 18080', // over UDP: only one try
        '/tmp/uring/rc 20246 ::1 1',
        '/tmp/uring/rc 20259 192.0.2.9 7', // no host answers
        'unknown 20284 192.0.2.9 7', // has ended
      ],
    );
    assert.ok(seen.every(({ direction, byRing, userId }) => direction === 'Out' && byRing === true && userId === 0));
    assert.equal(sink.unresolved, 0);
  });

  it('counts connections by io_uring if the kernel does not report the peer', () => {
    const several = event('io_uring_enter', { exit: '3' }, { address: PEER, ringConnects: 3 });
    const second = event('io_uring_enter', { exit: '1' }, { ringConnects: 1 });
    const here = event('io_uring_enter', {}, { address: { address: '127.0.0.1', port: 1 }, ringConnects: 1 });
    const own = event('io_uring_enter', { pid: '999' }, { address: PEER, ringConnects: 2 });
    assert.equal(report(start(), several, second, here, own).length, 1);
    assert.equal(sink.unresolved, 2);
  });
});
