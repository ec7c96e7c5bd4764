import assert from 'node:assert/strict';
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { writeU16 } from '../../../../../src/agent/linux/native/byte-order.ts';
import {
  droppedDatagrams,
  netlinkSockets,
  parseNetlinkSockets,
} from '../../../../../src/agent/linux/native/netlink/known-sockets.ts';
import { NETLINK_SOCK_DIAG, openNetlink } from '../../../../../src/agent/linux/native/netlink/socket.ts';
import { systemCalls } from '../../../../../src/agent/linux/native/system-calls.ts';
import { fuzzRuns } from '../../../../fuzz.ts';
import { skip } from '../../../../harness/require.ts';

const NETLINK_ROUTE = 0;
const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 0o2000003;

const TABLE = `sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode
00000000cb668655 0   0          00000000 0        0        0     2        0        4       
00000000d98b04c4 11  13313      00000001 8448     0        0     2        3085     21337   
000000008112f517 11  13314      00000001 8448     0        0     2        -2147483648 21338   
00000000c0ffee00 11  13315
`;

const parseDrops = (text: string, inode: number) => parseNetlinkSockets(text).get(inode)?.drops;

describe('KnownSockets', () => {
  it('returns protocol and groups of a socket by its inode', () => {
    assert.deepEqual(parseNetlinkSockets(TABLE).get(21_337), { protocol: 11, groups: 1, drops: 3_085 });
  });
});

describe('parseDrops', () => {
  it('returns the drops of the socket with the inode', () => {
    assert.equal(parseDrops(TABLE, 21_337), 3_085);
    assert.equal(parseDrops(TABLE, 4), 0);
    assert.equal(parseDrops(TABLE, 5), undefined);
    assert.equal(parseDrops('', 5), undefined);
  });

  it('counts beyond 2^31', () => assert.equal(parseDrops(TABLE, 21_338), 2 ** 31));

  it('returns 0 for a new socket', () => {
    const socket = openNetlink(NETLINK_SOCK_DIAG);
    assert.equal(droppedDatagrams(socket.fd), 0);
    socket.close();
  });

  it('agrees with /proc', () => {
    const socket = openNetlink(NETLINK_ROUTE, { receiveBufferBytes: 1 }); // the kernel grants about 2 KiB
    try {
      // Each refused request (RTM_GETLINK of no such interface) is answered, and the answers stay unread.
      for (let i = 0; i < 100; i += 1) socket.send(18, 5, Buffer.alloc(16));
      const dropped = droppedDatagrams(socket.fd) ?? 0;
      assert.ok(dropped > 50, String(dropped));
      assert.equal(dropped, netlinkSockets().get(fstatSync(socket.fd).ino)?.drops);
    } finally {
      socket.close();
    }
  });

  it("finds a socket among any number of other programs' netlink sockets", function () {
    const socket = openNetlink(NETLINK_SOCK_DIAG);
    const system = systemCalls();
    const address = Buffer.alloc(12);
    writeU16(address, 0, AF_NETLINK);
    const otherSockets: number[] = [];
    try {
      while (otherSockets.length < 12_000) {
        const other = system.socket(AF_NETLINK, SOCK_RAW_CLOEXEC, NETLINK_ROUTE);
        if (other < 0) break;
        otherSockets.push(other);
        system.bind(other, address, address.length); // only bound ones are listed in /proc
      }
      if (otherSockets.length < 12_000) return skip(this, `only ${otherSockets.length} descriptors are allowed`);
      assert.equal(droppedDatagrams(socket.fd), 0);
    } finally {
      for (const other of otherSockets) closeSync(other);
      socket.close();
    }
  });

  it('returns undefined for a file that is not a netlink socket', () => {
    const file = openSync('/dev/null', 'r');
    assert.equal(droppedDatagrams(file), undefined);
    closeSync(file);
  });

  it('accepts any text', () => {
    const real = readFileSync('/proc/net/netlink', 'latin1');
    const texts = fc.oneof(
      fc.string(),
      fc
        .tuple(fc.nat(TABLE.length), fc.string({ maxLength: 9 }))
        .map(([at, s]) => TABLE.slice(0, at) + s + TABLE.slice(at)),
      fc.tuple(fc.nat(real.length), fc.nat(99)).map(([at, length]) => real.slice(0, at) + real.slice(at + length)),
    );
    fc.assert(
      fc.property(texts, fc.constantFrom(4, 21_337, 21_338, 0), (text, inode) => {
        const { protocol = 0, groups = 0, drops = 0 } = parseNetlinkSockets(text).get(inode) ?? {};
        assert.ok([protocol, groups, drops].every(Number.isInteger));
        assert.ok(drops >= 0 && drops < 2 ** 32);
      }),
      { numRuns: fuzzRuns(100_000) },
    );
  });
});
