import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, connect as connectTcp, createServer, type Server } from 'node:net';
import { networkInterfaces } from 'node:os';
import fc from 'fast-check';
import { AgentError } from '../../src/base/errors.ts';
import type { ListeningSocket } from '../../src/contract/sources.ts';
import { ListeningSockets, parseInterfaces } from '../../src/linux/listening-sockets.ts';
import { encodeMessage, NLMSG_DONE, NLMSG_ERROR, writeU32 } from '../../src/linux/netlink/message.ts';
import { NETLINK_SOCK_DIAG, NetlinkSocket, openNetlink } from '../../src/linux/netlink/socket.ts';
import { decodeSocket, dump, encodeRequest } from '../../src/linux/sock-diag.ts';

/** A struct inet_diag_msg. */
function answer({
  family = 2,
  state = 10,
  localPort = 22,
  remotePort = 0,
  local = '00000000',
  interfaceIndex = 0,
  userId = 0,
  inode = 1234,
} = {}): Buffer {
  const bytes = Buffer.alloc(72);
  bytes[0] = family;
  bytes[1] = state;
  bytes.writeUInt16BE(localPort, 4);
  bytes.writeUInt16BE(remotePort, 6);
  bytes.write(local, 8, 'hex');
  writeU32(bytes, 40, interfaceIndex);
  writeU32(bytes, 64, userId);
  writeU32(bytes, 68, inode);
  return bytes;
}

describe('decodeSocket', () => {
  it('reads a listener', () => {
    assert.deepEqual(decodeSocket(answer({ local: '7f000001', userId: 101 }), 'tcp'), {
      protocol: 'tcp',
      localAddress: '127.0.0.1',
      localPort: 22,
      userId: 101,
      inode: 1234,
    });
  });

  it('keeps the protocol of a dual-stack and of a v4-mapped listener', () => {
    assert.equal(decodeSocket(answer({ family: 10, local: '0'.repeat(32) }), 'tcp6')?.localAddress, '::');
    const mapped = decodeSocket(answer({ family: 10, local: `${'0'.repeat(20)}ffff7f000001` }), 'tcp6');
    assert.deepEqual([mapped?.protocol, mapped?.localAddress], ['tcp6', '127.0.0.1']);
  });

  it('keeps the interface of link-local addresses, and of no others', () => {
    const linkLocal = answer({ family: 10, local: `fe80${'0'.repeat(27)}1`, interfaceIndex: 2 });
    assert.equal(decodeSocket(linkLocal, 'tcp6')?.interfaceIndex, 2);
    assert.equal(decodeSocket(answer({ interfaceIndex: 2 }), 'tcp')?.interfaceIndex, undefined);
  });

  for (const [what, bytes] of Object.entries({
    'another family': answer({ family: 10 }),
    'another state': answer({ state: 1 }),
    'a connected socket': answer({ remotePort: 443 }),
    'a socket without a port': answer({ localPort: 0 }),
    'an answer cut short': answer().subarray(0, 71),
  })) {
    it(`passes over ${what}`, () => assert.equal(decodeSocket(bytes, 'tcp'), undefined));
  }

  it('takes any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.constantFrom('tcp', 'udp6'), (bytes, protocol) => {
        const socket = decodeSocket(Buffer.from(bytes), protocol);
        if (socket !== undefined) assert.ok(socket.localPort > 0 && socket.localAddress !== '');
      }),
      { numRuns: 2_000 },
    );
  });
});

it('encodeRequest asks for listeners of TCP and for unconnected sockets of UDP', () => {
  assert.equal(encodeRequest('tcp').toString('hex').replace(/0+$/, ''), '02060000000400'.replace(/0+$/, ''));
  assert.equal(encodeRequest('udp6').toString('hex').replace(/0+$/, ''), '0a1100008');
});

/** Gives datagrams instead of the kernel. */
class Replay extends NetlinkSocket {
  readonly #datagrams: Buffer[];

  constructor(...datagrams: Buffer[]) {
    super(-1);
    this.#datagrams = datagrams;
  }
  override send = () => 1;
  override receive = () => this.#datagrams.shift();
  override close = () => {};
}

describe('dump', () => {
  const NLM_F_MULTI = 2;
  const done = encodeMessage(NLMSG_DONE, NLM_F_MULTI, 1, Buffer.alloc(4));

  it('puts all datagrams together, and passes over answers to somebody else', () => {
    const one = encodeMessage(20, NLM_F_MULTI, 1, answer());
    const foreign = encodeMessage(20, NLM_F_MULTI, 7, answer());
    assert.equal(dump(new Replay(Buffer.concat([one, one, foreign]), Buffer.concat([one, done])), 'tcp').length, 3);
  });

  it('says what the kernel refused', () => {
    const error = Buffer.alloc(20);
    writeU32(error, 0, -2);
    assert.throws(() => dump(new Replay(encodeMessage(NLMSG_ERROR, 0, 1, error)), 'tcp'), { code: 'ENOENT' });
  });

  it('does not wait for an answer that never comes', () => {
    assert.throws(() => dump(new Replay(), 'tcp'), { code: 'EAGAIN' });
  });

  it('takes any datagrams', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 3 }), (datagrams) => {
        assert.throws(() => dump(new Replay(...datagrams.map((bytes) => Buffer.from(bytes))), 'tcp'));
      }),
      { numRuns: 1_000 },
    );
  });
});

it('an interface without a name is called by its index', async () => {
  const done = encodeMessage(NLMSG_DONE, 2, 1, Buffer.alloc(4));
  const linkLocal = answer({ family: 10, local: `fe80${'0'.repeat(27)}1`, interfaceIndex: 7 });
  const open = () => new Replay(done, Buffer.concat([encodeMessage(20, 2, 1, linkLocal), done]), done, done);
  const sockets = await new ListeningSockets({ open, proc: '/nonexistent' }).listening(new AbortController().signal);
  assert.deepEqual(
    sockets.map(({ zone }) => zone),
    ['7'],
  );
});

it('parseInterfaces reads names by index, and takes any text', () => {
  const line = 'fe800000000000000222c0fffe2b8f52 0a 40 20 80     eth0';
  assert.deepEqual([...parseInterfaces(`${line}\nnonsense\n`)], [[10, 'eth0']]);
  fc.assert(
    fc.property(fc.string(), (text) => assert.ok(parseInterfaces(text).size >= 0)),
    { numRuns: 300 },
  );
});

describe('the sockets of this machine', () => {
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

      it('says which way was taken', () => {
        assert.equal(of.status().source, source);
        assert.equal(of.status().state, source === 'sockDiag' ? 'on' : 'degraded');
      });

      it('finds ours, with address, owner and process', () => {
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

      it('leaves out what is connected', async () => {
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

      it('says the same as the other way', async () => {
        const other = await new ListeningSockets().listening(new AbortController().signal);
        const keys = (all: readonly ListeningSocket[]) =>
          all.map(({ protocol, localAddress, localPort, userId }) =>
            [protocol, localAddress, localPort, userId].join(' '),
          );
        const mine = (all: readonly ListeningSocket[]) => keys(all.filter(({ pid }) => pid === process.pid)).sort();
        assert.deepEqual(mine(sockets), mine(other));
      });

      it('stops when told to', async () => {
        await assert.rejects(of.listening(AbortSignal.abort()), { name: 'AbortError' });
        const stop = new AbortController();
        const listing = of.listening(stop.signal);
        stop.abort();
        await assert.rejects(listing, { name: 'AbortError' });
      });
    });
  }

  it('says what it misses when there is no way at all', async () => {
    const blind = new ListeningSockets({ open: withoutNetlink, proc: '/nonexistent' });
    await assert.rejects(blind.listening(new AbortController().signal), { id: 'SOCKET_UNAVAILABLE' });
    assert.equal(blind.status().state, 'unavailable');
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
