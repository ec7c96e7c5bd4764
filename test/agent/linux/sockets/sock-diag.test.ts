import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readlinkSync, symlinkSync } from 'node:fs';
import { type AddressInfo, connect as connectTcp, createServer, isIP, type Server } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { readU16, readU32, writeU32 } from '../../../../src/agent/linux/native/byte-order.ts';
import { encodeMessage, NLMSG_DONE, NLMSG_ERROR } from '../../../../src/agent/linux/native/netlink/message.ts';
import {
  NETLINK_SOCK_DIAG,
  type NetlinkSocket,
  openNetlink,
} from '../../../../src/agent/linux/native/netlink/socket.ts';
import { ListeningSockets } from '../../../../src/agent/linux/sockets/listening-sockets.ts';
import {
  decodeConnected,
  decodeSocket,
  dump,
  encodeRequest,
  encodeTcpRequest,
  encodeUdpRequest,
  findConnected,
} from '../../../../src/agent/linux/sockets/sock-diag.ts';
import { SocketOwners, socketInode } from '../../../../src/agent/linux/sockets/socket-owners.ts';
import { systemClock } from '../../../../src/core/base/clock.ts';
import { AgentError } from '../../../../src/core/base/errors.ts';
import type { ListeningSocket } from '../../../../src/core/contract/sources.ts';
import { fuzzRuns } from '../../../fuzz.ts';
import { temporaryFolder } from '../../../harness/folders.ts';
import { changesOfShape } from '../../../shapes.ts';
import { done, ENOENT, inetDiag, NLM_F_MULTI, Replay } from './inet-diag.ts';

/** An answer of the kernel's, cut or not, in which some bytes are others. */
const changed = (answer: Buffer) =>
  fc
    .tuple(
      fc.array(fc.tuple(fc.nat(answer.length - 1), fc.nat(255))),
      fc.oneof({ arbitrary: fc.constant(answer.length), weight: 4 }, fc.nat(answer.length)),
    )
    .map(([changes, length]) => {
      const bytes = Buffer.from(answer);
      for (const [at, to] of changes) bytes[at] = to;
      return bytes.subarray(0, length);
    });

describe('decodeSocket', () => {
  it('parses a listener', () => {
    assert.deepEqual(decodeSocket(inetDiag({ local: '7f000001', userId: 101 }), 'tcp'), {
      protocol: 'tcp',
      localAddress: '127.0.0.1',
      localPort: 22,
      userId: 101,
      inode: 1234,
    });
  });

  it('returns the protocol of a dual-stack and of a v4-mapped listener', () => {
    assert.equal(decodeSocket(inetDiag({ family: 10, local: '0'.repeat(32) }), 'tcp6')?.localAddress, '::');
    const mapped = decodeSocket(inetDiag({ family: 10, local: `${'0'.repeat(20)}ffff7f000001` }), 'tcp6');
    assert.deepEqual([mapped?.protocol, mapped?.localAddress], ['tcp6', '127.0.0.1']);
  });

  it('returns the interface of link-local addresses only', () => {
    const linkLocal = inetDiag({ family: 10, local: `fe80${'0'.repeat(27)}1`, interfaceIndex: 2 });
    assert.equal(decodeSocket(linkLocal, 'tcp6')?.interfaceIndex, 2);
    assert.equal(decodeSocket(inetDiag({ interfaceIndex: 2 }), 'tcp')?.interfaceIndex, undefined);
  });

  for (const [what, bytes] of Object.entries({
    'another family': inetDiag({ family: 10 }),
    'another state': inetDiag({ state: 1 }),
    'a connected socket': inetDiag({ remotePort: 443 }),
    'a socket without a port': inetDiag({ localPort: 0 }),
    'an answer cut short': inetDiag().subarray(0, 71),
  })) {
    it(`skips ${what}`, () => assert.equal(decodeSocket(bytes, 'tcp'), undefined));
  }

  it('accepts any bytes', () => {
    let found = 0;
    fc.assert(
      fc.property(changed(inetDiag({ state: 10 })), fc.constantFrom('tcp', 'udp6'), (bytes, protocol) => {
        const socket = decodeSocket(bytes, protocol);
        if (socket === undefined) return;
        assert.ok(socket.localPort > 0 && isIP(socket.localAddress) !== 0);
        found += 1;
      }),
      { numRuns: fuzzRuns(100_000) },
    );
    assert.ok(found > fuzzRuns(100_000) / 10, `only ${found} were sockets`);
  });
});

it('requests listeners for TCP and unconnected sockets for UDP', () => {
  assert.equal(encodeRequest('tcp').toString('hex').replace(/0+$/, ''), '02060000000400'.replace(/0+$/, ''));
  assert.equal(encodeRequest('udp6').toString('hex').replace(/0+$/, ''), '0a1100008');
});

describe('dump', () => {
  it('joins all datagrams, and skips answers to other processes', () => {
    const one = encodeMessage(20, NLM_F_MULTI, 1, inetDiag());
    const foreign = encodeMessage(20, NLM_F_MULTI, 7, inetDiag());
    assert.equal(dump(new Replay(Buffer.concat([one, one, foreign]), Buffer.concat([one, done()])), 'tcp').length, 3);
  });

  it("returns the kernel's error", () => {
    const error = Buffer.alloc(20);
    writeU32(error, 0, -2);
    assert.throws(() => dump(new Replay(encodeMessage(NLMSG_ERROR, 0, 1, error)), 'tcp'), { code: 'ENOENT' });
  });

  it('returns why it is incomplete, even if the kernel reports it at the end', () => {
    const one = encodeMessage(20, NLM_F_MULTI, 1, inetDiag());
    assert.throws(() => dump(new Replay(done(ENOENT)), 'udp'), { code: 'ENOENT' });
    assert.throws(() => dump(new Replay(one, done(ENOENT)), 'tcp'), { code: 'ENOENT' });
    assert.equal(dump(new Replay(one, encodeMessage(NLMSG_DONE, NLM_F_MULTI, 1, Buffer.alloc(0))), 'tcp').length, 1);
  });

  it('does not wait for an answer that never arrives', () => {
    assert.throws(() => dump(new Replay(), 'tcp'), { code: 'EAGAIN' });
  });

  it('accepts any datagrams', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 3 }), (datagrams) => {
        assert.throws(() => dump(new Replay(...datagrams.map((bytes) => Buffer.from(bytes))), 'tcp'));
      }),
      { numRuns: fuzzRuns(100_000) },
    );
  });
});

describe('decodeConnected', () => {
  const connected = { state: 1, localPort: 50_112, remotePort: 443, local: 'c0000202', remote: 'c0000207' } as const;

  it('parses both ends', () => {
    assert.deepEqual(decodeConnected(inetDiag(connected)), {
      local: { address: '192.0.2.2', port: 50_112 },
      remote: { address: '192.0.2.7', port: 443 },
      inode: 1234,
      isClosed: false,
    });
  });

  it('parses the interface of link-local ends', () => {
    const bytes = inetDiag({
      ...connected,
      family: 10,
      local: `fe80${'0'.repeat(27)}1`,
      remote: `20010db8${'0'.repeat(23)}7`,
      interfaceIndex: 3,
    });
    const { local, remote } = decodeConnected(bytes) ?? {};
    assert.deepEqual([local?.interfaceIndex, remote?.interfaceIndex], [3, undefined]);
  });

  it('parses how long a closed socket remains', () => {
    const left = decodeConnected(inetDiag({ ...connected, state: 6, timer: 3, expires: 59_000, inode: 0 }));
    assert.deepEqual([left?.inode, left?.keptFor, left?.isClosed], [0, 59_000, true]);
    const half = decodeConnected(inetDiag({ ...connected, state: 5, timer: 3, expires: 29_000, inode: 0 }));
    assert.deepEqual([half?.keptFor, half?.isClosed], [29_000, false]);
    assert.equal(decodeConnected(inetDiag({ ...connected, timer: 1, expires: 200 }))?.keptFor, undefined);
  });

  it('accepts any bytes', () => {
    let found = 0;
    fc.assert(
      fc.property(changed(inetDiag(connected)), fc.constantFrom(2, 10, 1), (bytes, family) => {
        if (bytes.length > 0) bytes[0] = family;
        const socket = decodeConnected(bytes);
        if (socket === undefined) return;
        found += 1;
        for (const { address, port } of [socket.local, socket.remote]) {
          assert.ok(isIP(address) !== 0 && port >= 0 && port < 65_536);
        }
      }),
      { numRuns: fuzzRuns(100_000) },
    );
    assert.ok(found > fuzzRuns(100_000) / 10, `only ${found} were sockets`);
  });
});

describe('encodeConnectedRequest', () => {
  const ports = (remote: readonly number[], local: readonly number[] = []) => ({
    remote: new Set(remote),
    local: new Set(local),
  });
  const LISTEN = 10;

  /** Runs the kernel's program: inet_diag_bc_run() of net/ipv4/inet_diag.c. */
  function chooses(program: Buffer, socket: { remotePort: number; localPort: number }): boolean {
    let at = 0;
    while (at < program.length) {
      const [code, yes, no] = [program[at], program[at + 1] ?? 0, readU16(program, at + 2)];
      const port = code === 1 ? 0 : readU16(program, at + 6);
      const holds = { 1: false, 11: socket.localPort === port, 12: socket.remotePort === port }[code as 1 | 11 | 12];
      at += holds ? yes : no;
    }
    return at === program.length;
  }

  it('requests all states with a peer, for both families, and connected sockets for UDP', () => {
    const tcp = encodeTcpRequest(undefined);
    assert.deepEqual([tcp.length, tcp[0], (readU32(tcp, 52) >> LISTEN) & 1], [60, 0, 0]);
    assert.deepEqual([...encodeUdpRequest(10, undefined).subarray(0, 8)], [10, 17, 0, 0, ...[2, 0, 0, 0]]);
  });

  it('lets the kernel filter by port', () => {
    const program = encodeTcpRequest(ports([443, 80], [22])).subarray(64);
    assert.ok(chooses(program, { remotePort: 80, localPort: 1 }));
    assert.ok(chooses(program, { remotePort: 443, localPort: 1 }));
    assert.ok(chooses(program, { remotePort: 1, localPort: 22 }));
    assert.ok(!chooses(program, { remotePort: 22, localPort: 80 }));
  });

  it('requests all sockets if there are no ports or too many', () => {
    const many = Array.from({ length: 65 }, (_, port) => port);
    assert.equal(encodeTcpRequest(ports(many)).length, 60);
    assert.equal(encodeUdpRequest(2, ports([])).length, 56);
    assert.equal(encodeTcpRequest(ports(many.slice(1))).length, 60 + 4 + 64 * 12);
  });
});

describe('findConnected', () => {
  const given = (type: number, ...answers: Buffer[]) =>
    new Replay(Buffer.concat([...answers.map((bytes) => encodeMessage(type, 2, 1, bytes)), done()]), done());
  const all = [
    inetDiag({ state: 1, remotePort: 443, inode: 1 }),
    inetDiag({ state: 1, remotePort: 443, inode: 2 }),
    inetDiag({ state: 1, remotePort: 80, inode: 3 }),
    inetDiag({ state: 6, timer: 3, expires: 59_000, remotePort: 443, inode: 0 }),
    inetDiag({ state: 6, timer: 3, expires: 1_000, remotePort: 443, inode: 0 }),
    inetDiag({ state: 5, remotePort: 443, inode: 0 }),
  ];

  for (const [what, query, inodes] of [
    ['by number', { inodes: new Set([1, 3]) }, [1, 3]],
    ['what is left of closed ones', { inodes: new Set([2]), keptForAtLeast: () => 2_000 }, [2, 0]],
    [
      'those with a port, also where the kernel gives all',
      { inodes: new Set([1, 2, 3]), ports: { remote: new Set([80]), local: new Set<number>() } },
      [3],
    ],
  ] as const) {
    it(`finds ${what}`, () => {
      const found = findConnected(given(18, ...all), 'TCP', query);
      assert.deepEqual(
        found.map(({ inode }) => inode),
        inodes,
      );
    });
  }

  it('requests both families for UDP', () => {
    const found = findConnected(given(20, all[0] ?? Buffer.alloc(0)), 'UDP', { inodes: new Set([1]) });
    assert.equal(found.length, 1);
  });

  it('accepts any datagrams', () => {
    const query = { inodes: new Set([0, 1]), keptForAtLeast: () => 0 };
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 3 }), (datagrams) => {
        const answers = datagrams.map((bytes) => encodeMessage(18, 2, 1, Buffer.from(bytes)));
        const cut = datagrams.map((bytes) => Buffer.from(bytes));
        assert.ok(findConnected(given(18, ...answers), 'TCP', query).length <= datagrams.length);
        assert.throws(() => findConnected(new Replay(...cut), 'TCP', query));
      }),
      { numRuns: fuzzRuns(100_000) },
    );
  });

  it('finds a connection of this machine by the number of its file alone', async () => {
    const server = createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const sockets = [connectTcp(port, '127.0.0.1'), connectTcp(port, '127.0.0.1')];
    for (const socket of sockets) await once(socket, 'connect');
    const [ours] = sockets;
    let netlink: NetlinkSocket | undefined;
    try {
      netlink = openNetlink(NETLINK_SOCK_DIAG);
      const links = readdirSync('/proc/self/fd').flatMap((fd) => {
        try {
          return [readlinkSync(`/proc/self/fd/${fd}`)];
        } catch {
          return [];
        }
      });
      const inodes = new Set(links.map((link) => socketInode(link) ?? 0));
      for (const query of [
        { inodes },
        { inodes, ports: { remote: new Set([port]), local: new Set<number>() } },
        { inodes, ports: { remote: new Set([9]), local: new Set([ours?.localPort ?? 0]) } },
      ]) {
        const found = findConnected(netlink, 'TCP', query);
        assert.ok(found.some(({ local, remote }) => local.port === ours?.localPort && remote.port === port));
      }
    } finally {
      netlink?.close();
      for (const socket of sockets) socket.destroy();
      server.close();
    }
  });
});

it('names an interface without a name by its index', async () => {
  const linkLocal = inetDiag({ family: 10, local: `fe80${'0'.repeat(27)}1`, interfaceIndex: 7 });
  const open = () => new Replay(done(), Buffer.concat([encodeMessage(20, 2, 1, linkLocal), done()]), done(), done());
  const sockets = await new ListeningSockets({ open, proc: '/nonexistent' }).listening(new AbortController().signal);
  assert.deepEqual(
    sockets.map(({ zone }) => zone),
    ['7'],
  );
});

it('returns sockets of one shape, since there may be tens of thousands', async () => {
  const local = `fe80${'0'.repeat(27)}1`;
  const listeners = Array.from({ length: 200 }, (_, n) =>
    encodeMessage(20, 2, 1, inetDiag({ family: 10, local, localPort: 1 + n, interfaceIndex: 7 })),
  );
  const open = () => new Replay(done(), Buffer.concat([...listeners, done()]), done(), done());
  const sockets = await new ListeningSockets({ open, proc: '/nonexistent' }).listening(new AbortController().signal);
  assert.equal(sockets.length, 200);
  assert.ok(changesOfShape(sockets) < 10);
});

describe('an incomplete list of sockets', () => {
  const { signal } = new AbortController();
  let proc: string;

  beforeEach(() => {
    proc = temporaryFolder();
  });

  it('reports how many sockets were omitted', async () => {
    const listeners = Array.from({ length: 20_005 }, (_, n) =>
      encodeMessage(20, 2, 1, inetDiag({ local: '7f000001', localPort: 1 + n, userId: 1000, inode: 0 })),
    );
    const reachable = encodeMessage(20, 2, 1, inetDiag({ localPort: 31_337, userId: 1000, inode: 0 }));
    const open = () => new Replay(Buffer.concat([...listeners, reachable, done()]), done(), done(), done());
    const of = new ListeningSockets({ open, proc });
    const sockets = await of.listening(signal);
    assert.equal(sockets.length, 20_001);
    assert.equal(sockets[0]?.localPort, 31_337);
    const { state, source, leftOut, reason } = of.status();
    assert.deepEqual({ state, source, leftOut }, { state: 'degraded', source: 'sockDiag', leftOut: 5 });
    assert.match(reason ?? '', /^5 sockets are not listed/);
  });

  it('reports how many sockets are listed without a process', async () => {
    mkdirSync(join(proc, '70/fd'), { recursive: true });
    for (let fd = 0; fd < 200; fd += 1) symlinkSync('pipe:[1]', join(proc, `70/fd/${fd}`));
    const open = () => new Replay(Buffer.concat([encodeMessage(20, 2, 1, inetDiag()), done()]), done(), done(), done());
    const of = new ListeningSockets({ open, proc, owners: new SocketOwners(proc, systemClock, 50) });
    await of.listening(signal);
    const { state, leftOut, reason } = of.status();
    assert.deepEqual({ state, leftOut }, { state: 'degraded', leftOut: undefined });
    assert.match(reason ?? '', /^1 sockets are listed without a process/);
  });
});

describe('ListeningSockets on this machine', () => {
  const servers: Server[] = [];
  const datagrams: Socket[] = [];
  const ports = new Map<string, number>();

  const listen = async (name: string, host: string) => {
    const server = createServer().listen(0, host);
    servers.push(server);
    await once(server, 'listening');
    ports.set(name, (server.address() as AddressInfo).port);
  };
  const bind = async (name: string, type: 'udp4' | 'udp6', address: string) => {
    const socket = createSocket({ type });
    datagrams.push(socket);
    socket.bind(0, address);
    await once(socket, 'listening');
    ports.set(name, socket.address().port);
    return socket;
  };
  const linkLocal = Object.entries(networkInterfaces())
    .flatMap(([zone, addresses = []]) => addresses.map((of) => ({ zone, address: of.address })))
    .find(({ address }) => address.startsWith('fe80:'));

  before(async () => {
    await listen('tcp 127.0.0.1', '127.0.0.1');
    await bind('udp 0.0.0.0', 'udp4', '0.0.0.0');
    if (networkInterfaces().lo?.some(({ address }) => address === '::1') !== true) return; // IPv6 is off here
    await listen('tcp6 ::1', '::1');
    await listen('tcp6 ::', '::');
    await listen('tcp6 127.0.0.1', '::ffff:127.0.0.1');
    await bind('udp6 ::1', 'udp6', '::1');
    if (linkLocal !== undefined) await listen(`tcp6 ${linkLocal.address}`, `${linkLocal.address}%${linkLocal.zone}`);
  });
  after(() => {
    for (const server of servers) server.close();
    for (const socket of datagrams) socket.close();
  });

  const withoutNetlink = () => {
    throw new AgentError('SOCKET_UNAVAILABLE', 'koffi does not load', 'Install it.');
  };

  for (const [way, source, of] of [
    ['sock_diag', 'sockDiag', new ListeningSockets()],
    ['/proc/net', 'procNet', new ListeningSockets({ open: withoutNetlink })],
  ] as const) {
    describe(`by ${way}`, () => {
      let sockets: readonly ListeningSocket[];

      before(async () => {
        sockets = await of.listening(new AbortController().signal);
      });

      it('reports the source', () => {
        assert.equal(of.status().source, source);
        assert.equal(of.status().state, source === 'sockDiag' ? 'on' : 'degraded');
        assert.equal(of.status().reason, source === 'sockDiag' ? undefined : 'koffi does not load Install it.');
      });

      it("finds the test's own socket with address, owner and process", () => {
        for (const [name, port] of ports) {
          const [protocol, localAddress] = name.split(' ');
          const found = sockets.filter((socket) => socket.protocol === protocol && socket.localPort === port);
          const { zone, ...socket } = found[0] ?? {};
          assert.deepEqual(socket, {
            protocol,
            localAddress,
            localPort: port,
            userId: process.getuid?.(),
            pid: process.pid,
            executable: process.execPath,
          });
          const expected = source === 'sockDiag' && localAddress?.startsWith('fe80') ? linkLocal?.zone : undefined;
          assert.equal(zone, expected);
          assert.equal(found.length, 1);
        }
      });

      it('omits connected sockets', async () => {
        const tcp = connectTcp(ports.get('tcp 127.0.0.1') ?? 0, '127.0.0.1');
        await once(tcp, 'connect');
        const udp = await bind('gone', 'udp4', '127.0.0.1');
        ports.delete('gone');
        udp.connect(9, '127.0.0.1');
        await once(udp, 'connect');
        const local = [tcp.localPort, udp.address().port];
        const now = await of.listening(new AbortController().signal);
        assert.deepEqual(
          now.filter(({ localPort, pid }) => pid === process.pid && local.includes(localPort)),
          [],
        );
        tcp.destroy();
        await once(tcp, 'close');
      });

      it('agrees with the other source', async () => {
        const other = await new ListeningSockets().listening(new AbortController().signal);
        const keys = (all: readonly ListeningSocket[]) =>
          all.map(({ protocol, localAddress, localPort, userId }) =>
            [protocol, localAddress, localPort, userId].join(' '),
          );
        const mine = (all: readonly ListeningSocket[]) => keys(all.filter(({ pid }) => pid === process.pid)).sort();
        assert.deepEqual(mine(sockets), mine(other));
      });

      it('stops when it is aborted', async () => {
        await assert.rejects(of.listening(AbortSignal.abort()), { name: 'AbortError' });
        const stop = new AbortController();
        const listing = of.listening(stop.signal);
        stop.abort();
        await assert.rejects(listing, { name: 'AbortError' });
      });
    });
  }

  it('reports what is missing if there is no source at all', async () => {
    const blind = new ListeningSockets({ open: withoutNetlink, proc: '/nonexistent' });
    await assert.rejects(blind.listening(new AbortController().signal), { id: 'SOCKET_UNAVAILABLE' });
    assert.equal(blind.status().state, 'unavailable');
  });

  it('reports what a kernel without inet_diag lacks', async () => {
    const refusal = Buffer.alloc(20);
    writeU32(refusal, 0, -2); // ENOENT
    const of = new ListeningSockets({ open: () => new Replay(encodeMessage(NLMSG_ERROR, 0, 1, refusal)) });
    await of.listening(new AbortController().signal);
    const { state, source, reason = '' } = of.status();
    assert.deepEqual([state, source], ['degraded', 'procNet']);
    assert.match(reason, /^The kernel has no inet_diag for TCP or for UDP\. Use a kernel with CONFIG_INET_DIAG, /);
  });

  it('reads everything from the other source if the kernel has inet_diag for TCP only', async () => {
    const of = new ListeningSockets({ open: () => new Replay(done(), done(), done(ENOENT)) });
    await of.listening(new AbortController().signal);
    const { state, source } = of.status();
    assert.deepEqual([state, source], ['degraded', 'procNet']);
  });

  it('closes its netlink socket', async () => {
    let opened: NetlinkSocket | undefined;
    const open = () => {
      opened = openNetlink(NETLINK_SOCK_DIAG);
      return opened;
    };
    await new ListeningSockets({ open }).listening(new AbortController().signal);
    assert.throws(() => opened?.receive(), { code: 'EBADF' });
  });
});
