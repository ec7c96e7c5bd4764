import assert from 'node:assert/strict';
import { ListeningSockets } from '../../../../src/agent/linux/sockets/listening-sockets.ts';
import { FakeSockDiag, inetDiag } from './inet-diag.ts';

const { signal } = new AbortController();
const listener = (inode: number, localPort = 22) => inetDiag({ inode, localPort });
/** Bound and not connected. */
const bound = (inode: number, localPort = 53) => inetDiag({ state: 7, inode, localPort });

describe('The trace of listening sockets', () => {
  let kernel: FakeSockDiag;
  let sockets: ListeningSockets;
  const look = () => sockets.trace(signal);

  beforeEach(() => {
    kernel = new FakeSockDiag();
    kernel.tcp.push(listener(1));
    kernel.udp.push(bound(10));
    sockets = new ListeningSockets({ open: () => kernel });
  });

  it('stays the same as long as the same sockets are open', async () => {
    await look();
    const settled = await look();
    assert.equal(await look(), settled);
    assert.ok(kernel.isClosed);
    kernel.tcp.push(inetDiag({ inode: 2, state: 1, remotePort: 9 }));
    assert.equal(await look(), settled, 'a connection');
  });

  it('differs at once when a TCP socket listens, is closed, or is another one at the same port', async () => {
    await look();
    const seen = [await look()];
    const isNew = async () => {
      const trace = await look();
      assert.ok(trace !== undefined && !seen.includes(trace));
      seen.push(trace);
    };
    kernel.tcp.push(listener(2, 8080));
    await isNew();
    kernel.tcp.splice(1, 1, listener(3, 8080));
    await isNew();
    kernel.tcp.splice(1, 1, listener(3, 8081));
    await isNew();
    kernel.tcp.shift();
    await isNew();
  });

  it('differs for a UDP socket when a second look has found it, so not for those of single queries', async () => {
    await look();
    const before = await look();
    for (let query = 100; query < 110; query += 1) {
      kernel.udp.splice(1, 1, bound(query, 2_000 + query));
      assert.equal(await look(), before);
    }
    const lasting = await look();
    assert.notEqual(lasting, before);
    kernel.udp.splice(1, 1);
    assert.equal(await look(), before);
  });

  it('differs at once in a flood of UDP sockets, of which too many would have to be remembered', async () => {
    for (let inode = 1_000; inode < 11_000; inode += 1) kernel.udp.push(bound(inode, inode));
    await look();
    const before = await look();
    kernel.udp.push(bound(20_000, 20_000));
    assert.notEqual(await look(), before);
  });

  it('cannot be told where the kernel lacks sock_diag', async () => {
    kernel.errno = 2;
    assert.equal(await look(), undefined);
    assert.ok(kernel.isClosed);
  });
});
